package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// envCommand makes the test's program run as the command.
const envCommand = "SQLSECRETS_TEST_COMMAND"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envRotate) != "":
		if err := rotateSecret(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case os.Getenv(envOpen) != "":
		openDatabase()
		return
	case os.Getenv(envCommand) != "":
		main()
	}
	// Most tests wait for servers that do not answer, so more run at once than the machine has cores.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// No output may contain one of these.
const (
	user         = "canary_user"
	password     = "CANARY-password-1"
	secretKey    = "CANARYSECRETKEY"
	sessionToken = "CANARYSESSIONTOKEN"
)

// A world is the environment of a run of the command.
type world struct {
	t   *testing.T
	aws *awssmtest.Server
	env []string
}

// newWorld returns a world with a Secrets Manager and an AWS STS.
func newWorld(t *testing.T) *world {
	w := &world{t: t, aws: awssmtest.NewServer(t)}
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
			`<Arn>arn:aws:sts::123456789012:assumed-role/app/session</Arn><UserId>X</UserId><Account>123456789012</Account>` +
			`</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`))
	}))
	t.Cleanup(sts.Close)
	w.env = []string{
		envCommand + "=1", "HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "LANG=C.UTF-8",
		"AWS_REGION=" + awssmtest.Region, "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_SESSION_TOKEN=" + sessionToken,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.aws.URL(), "AWS_ENDPOINT_URL_STS=" + sts.URL,
	}
	return w
}

// set sets an environment variable; an empty value removes it.
func (w *world) set(name, value string) {
	var env []string
	for _, e := range w.env {
		if !strings.HasPrefix(e, name+"=") {
			env = append(env, e)
		}
	}
	if value != "" {
		env = append(env, name+"="+value)
	}
	w.env = env
}

// A ran is the outcome of a run of the command.
type ran struct {
	stdout, stderr string
	code           int
}

// first returns the first line of the output.
func (r ran) first() string {
	line, _, _ := strings.Cut(r.stdout, "\n")
	return line
}

// run runs the command.
func (w *world) run(args ...string) ran {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, &out, &errOut
	err := cmd.Run()
	r := ran{stdout: out.String(), stderr: errOut.String()}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		w.t.Fatal(err)
	}
	return r
}
