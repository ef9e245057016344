package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/examples/internal/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const secretID = "prod/app/db"

// The test starts its own binary again, which then runs as the function.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The function answers each invocation, before and after each step of a rotation.
func TestFunctionThroughRotations(t *testing.T) {
	for _, tt := range []struct {
		source    string
		rotations int
	}{
		{"extension,aws", 2},
		// In a second rotation, the extension would still return the first rotation's AWSPENDING.
		{"extension", 1},
	} {
		t.Run(tt.source, func(t *testing.T) {
			database, secrets := start(t)
			f := startFunction(t, tt.source, secrets)
			n := 0
			invoke := func() {
				n++
				if got, want := f.invoke(t, `{"Item":"tea"}`), fmt.Sprintf(`{"Orders":%d}`, n); got != want {
					t.Errorf("the function answers %s, want %s", got, want)
				}
			}
			secrets.SetRotation(func(ctx context.Context, e awssmtest.RotationEvent) error {
				invoke()
				return rotate(ctx, database, secrets, e)
			})
			invoke()
			for range tt.rotations {
				if _, err := secrets.Rotate(t.Context(), secretID); err != nil {
					t.Fatal(err)
				}
				invoke()
			}
		})
	}
}

// start starts a database, and a Secrets Manager with the secret of that database.
func start(t *testing.T) (*mysqlserver.Server, *awssmtest.Server) {
	t.Helper()
	database, err := mysqlserver.Start(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = database.Close() })
	if err := errors.Join(
		database.CreateUser(t.Context(), "app", "first"),
		database.Exec(t.Context(), "CREATE TABLE orders (item VARCHAR(20))"),
	); err != nil {
		t.Fatal(err)
	}
	secrets := awssmtest.NewServer(t)
	secrets.Put(secretID, value(database, "first"))
	return database, secrets
}

func value(database *mysqlserver.Server, password string) string {
	return fmt.Sprintf(`{"engine":"mysql","host":%q,"port":%d,"dbname":"app","username":"app","password":%q}`, database.Host, database.Port, password)
}

// rotate does one step of a rotation.
func rotate(ctx context.Context, database *mysqlserver.Server, secrets *awssmtest.Server, e awssmtest.RotationEvent) error {
	password := "password " + e.ClientRequestToken
	switch e.Step {
	case awssmtest.CreateSecret:
		secrets.PutVersion(e.SecretID, e.ClientRequestToken, value(database, password), "AWSPENDING")
	case awssmtest.SetSecret:
		return database.SetPassword(ctx, "app", password)
	case awssmtest.FinishSecret:
		secrets.MoveStage(e.SecretID, "AWSCURRENT", e.ClientRequestToken)
	}
	return nil
}

// A function is a running instance of the function, with a stand-in for the runtime of AWS Lambda.
type function struct{ events, answers chan string }

func startFunction(t *testing.T, source string, secrets *awssmtest.Server) *function {
	t.Helper()
	f := &function{make(chan string), make(chan string)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case event := <-f.events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "1")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
			_, _ = io.WriteString(w, event)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/1/", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
		f.answers <- string(b) // an error of the function arrives here, too
	})
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	extension := agenttest.NewExtension(t, secrets.Source())
	port, err := url.Parse(extension.URL())
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(),
		"AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(api.URL, "http://"),
		"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT="+port.Port(),
		"AWS_SESSION_TOKEN="+extension.Token(), "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example",
		"AWS_REGION="+awssmtest.Region, "AWS_ENDPOINT_URL_SECRETS_MANAGER="+secrets.URL(),
		"DATABASE="+secretID+"?source="+source, "CONNECTION_LIFETIME=1ms")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // as AWS Lambda does
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the function's log:\n%s", log.String())
		}
	})
	return f
}

// invoke sends an event to the function and returns its answer.
func (f *function) invoke(t *testing.T, event string) (answer string) {
	t.Helper()
	if !json.Valid([]byte(event)) {
		t.Fatalf("not JSON: %s", event)
	}
	timeout := time.After(30 * time.Second)
	select {
	case f.events <- event:
	case <-timeout:
		t.Error("the function does not accept the event")
		return ""
	}
	select {
	case answer = <-f.answers:
	case <-timeout:
		t.Error("the function does not answer")
	}
	return answer
}
