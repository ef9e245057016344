package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// envRotate makes the test's program run as a rotation function.
const envRotate = "SQLSECRETS_TEST_ROTATE"

// rotateSecret is a rotation function. It stores a new password and moves AWSCURRENT to it.
func rotateSecret() error {
	var event struct{ Step, SecretId, ClientRequestToken string }
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	sm := secretsmanager.NewFromConfig(cfg)
	switch event.Step {
	case "createSecret":
		_, err = sm.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
			SecretId: &event.SecretId, ClientRequestToken: &event.ClientRequestToken,
			SecretString: aws.String(`{"username":"app","password":"rotated"}`), VersionStages: []string{"AWSPENDING"},
		})
	case "finishSecret":
		var d *secretsmanager.DescribeSecretOutput
		if d, err = sm.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &event.SecretId}); err != nil {
			return err
		}
		in := &secretsmanager.UpdateSecretVersionStageInput{
			SecretId: &event.SecretId, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &event.ClientRequestToken,
		}
		for id, stages := range d.VersionIdsToStages {
			if strings.Contains(strings.Join(stages, " "), "AWSCURRENT") {
				in.RemoveFromVersionId = aws.String(id)
			}
		}
		_, err = sm.UpdateSecretVersionStage(ctx, in)
	}
	return err
}

// A serving is a run of "sqlsecrets serve".
type serving struct {
	cmd    *exec.Cmd
	env    []string // the variables that it printed
	url    string
	stderr *bytes.Buffer
}

// startServe starts a server with two secrets. The rotation function is this program.
func startServe(t *testing.T) *serving {
	t.Helper()
	seed := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(seed, []byte(`{"prod/app": {"username": "app", "password": "first"}, "text": "plain"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &serving{stderr: &bytes.Buffer{}}
	s.cmd = exec.Command(os.Args[0], "serve", "-listen", "127.0.0.1:0", "-seed", seed, "-rotate", envRotate+"=1 "+os.Args[0])
	s.cmd.Env = []string{envCommand + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	for lines := bufio.NewScanner(out); len(s.env) < 5 && lines.Scan(); {
		e, ok := strings.CutPrefix(lines.Text(), "export ")
		if !ok {
			t.Fatalf("it printed %q", lines.Text())
		}
		s.env = append(s.env, e)
	}
	if len(s.env) != 5 {
		t.Fatalf("it printed %q: %s", s.env, s.stderr)
	}
	s.url = strings.TrimPrefix(s.env[0], "AWS_ENDPOINT_URL_SECRETS_MANAGER=")
	return s
}

// stop ends the server with SIGTERM.
func (s *serving) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, s.stderr)
	}
}

// A client uses the variables that serve prints. It reads a seeded secret, rotates it with the
// ordinary API, and reads the new value. The rotation runs the command for each step.
func TestServeRotatesByACommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command needs sh")
	}
	t.Parallel()
	s := startServe(t)
	resp, err := http.Get(s.url + "/")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET / = %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	sm := secretsmanager.New(secretsmanager.Options{
		BaseEndpoint: &s.url, Region: "us-west-2",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
	get := func(id string) string {
		out, err := sm.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &id})
		if err != nil {
			t.Fatal(err)
		}
		return *out.SecretString
	}
	if got := get("prod/app") + get("text"); !strings.Contains(got, `"first"`) || !strings.HasSuffix(got, "plain") {
		t.Errorf("seeded: %s", got)
	}
	if _, err := sm.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: aws.String("prod/app")}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(get("prod/app"), "rotated"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the secret was not rotated: %s", s.stderr)
		}
	}
	s.stop(t)
}

// An input that serve cannot use is an error that quotes no value of a secret.
func TestServeErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed := filepath.Join(t.TempDir(), "seed.json")
	for _, c := range []struct {
		file, says string
		code       int
	}{
		{`["CANARY"]`, "not a JSON object", exitOther},
		{`{"prod/app": 1}`, "neither an object nor a string", exitOther},
		{`{"prod app": "CANARY"}`, "prod app", exitOther},
	} {
		if err := os.WriteFile(seed, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		r := w.run("serve", "-listen", "127.0.0.1:0", "-seed", seed)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, "CANARY") {
			t.Errorf("%s: code %d: %s", c.file, r.code, r.stderr)
		}
	}
	if r := w.run("serve", "-listen", "256.0.0.1:0"); r.code != exitOther {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
}

// script rotates a secret and prints its password before and after.
const script = `
const { SecretsManagerClient, GetSecretValueCommand, RotateSecretCommand, CreateSecretCommand, DescribeSecretCommand } =
  require("@aws-sdk/client-secrets-manager");
(async () => {
  const client = new SecretsManagerClient({});
  const get = async (id, stage) =>
    (await client.send(new GetSecretValueCommand({ SecretId: id, VersionStage: stage }))).SecretString;
  console.log(JSON.parse(await get("prod/app")).password);
  await client.send(new RotateSecretCommand({ SecretId: "prod/app" }));
  while (JSON.parse(await get("prod/app")).password === "first") await new Promise((r) => setTimeout(r, 20));
  console.log(JSON.parse(await get("prod/app")).password, JSON.parse(await get("prod/app", "AWSPREVIOUS")).password);
  await client.send(new CreateSecretCommand({ Name: "new", SecretString: "made" }));
  console.log(await get("new"), (await client.send(new DescribeSecretCommand({ SecretId: "new" }))).Name);
  try {
    await get("no-such");
  } catch (e) {
    console.log(e.name);
  }
})();
`

// The AWS SDK for JavaScript works with serve. It needs only the variables that serve prints.
// .ci/independent-clients/aws-sdk-js installs the SDK and sets SQLSECRETS_AWS_SDK_JS.
func TestAWSSDKForJavaScript(t *testing.T) {
	modules := os.Getenv("SQLSECRETS_AWS_SDK_JS")
	if modules == "" {
		t.Skip("SQLSECRETS_AWS_SDK_JS is not the node_modules folder with @aws-sdk/client-secrets-manager in it: see .ci/independent-clients/aws-sdk-js")
	}
	s := startServe(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "-e", script)
	node.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_PATH=" + modules}, s.env...)
	node.Stderr = s.stderr
	out, err := node.Output()
	want := "first\nrotated first\nmade new\nResourceNotFoundException\n"
	if got := string(out); err != nil || got != want {
		t.Errorf("%v: it printed\n%swant\n%s%s", err, got, want, s.stderr)
	}
	s.stop(t)
}
