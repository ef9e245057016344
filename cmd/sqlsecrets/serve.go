package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const aboutServe = `usage: sqlsecrets serve [flags]

Runs a Secrets Manager for tests of programs in any language. It serves the API of AWS Secrets Manager
over HTTP, keeps everything in memory, and accepts any credentials.

It prints the environment variables that make an AWS SDK use it. It runs until it gets SIGINT or
SIGTERM. GET / returns status 200 when it is ready.

`

// defaultListen is the address of serve without -listen.
const defaultListen = "127.0.0.1:4584"

func runServe(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := f.String("listen", defaultListen, "the `address` to listen at; port 0 picks a free port. Anyone who can reach the address can read the secrets")
	seed := f.String("seed", "", "a JSON `file` with the first secrets: one object whose keys are the names, and whose values are the secrets, each an object or a string")
	rotate := f.String("rotate", "", "the `command` that is the rotation function. The shell runs it for each step, with the event of AWS Lambda on its standard input")
	others, code, ok := parseFlags(f, aboutServe, args, stdout, stderr)
	switch {
	case !ok:
		return code
	case len(others) > 0:
		fmt.Fprintln(stderr, "sqlsecrets serve: only flags are allowed; \"sqlsecrets serve -h\" lists them")
		return exitUsage
	}
	if err := serve(ctx, *listen, *seed, *rotate, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "sqlsecrets serve:", err)
		return exitOther
	}
	return exitOK
}

// serve serves until ctx ends.
func serve(ctx context.Context, listen, seed, rotate string, stdout, stderr io.Writer) error {
	secrets, err := readSeed(seed)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	env := environment(l.Addr().(*net.TCPAddr))
	sm := awssmtest.NewServer(nil)
	defer sm.Close()
	if rotate != "" {
		sm.SetRotation(rotation(rotate, env, stderr))
	}
	for name, value := range secrets {
		if err := put(sm, name, value); err != nil {
			_ = l.Close()
			return fmt.Errorf("%s: %w", seed, err)
		}
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		fmt.Fprintln(stderr, "sqlsecrets serve: warning: it listens on the network, and anyone who can reach it can read the secrets; store only test secrets")
	}
	for _, e := range env {
		fmt.Fprintln(stdout, "export "+e)
	}
	server := &http.Server{Handler: ready(sm), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if server.Shutdown(ending) != nil {
		_ = server.Close() // some requests did not end in time
	}
	return nil
}

// ready answers GET /, which tells a client that the server is ready. It passes all other requests to
// next.
func ready(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/" {
			_, _ = io.WriteString(w, "sqlsecrets serve: ready\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// environment returns the variables that make an AWS SDK use the server at an address.
func environment(a *net.TCPAddr) []string {
	host := a.IP.String()
	if a.IP.IsUnspecified() {
		host = "localhost"
	}
	return []string{
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=http://" + net.JoinHostPort(host, fmt.Sprint(a.Port)),
		"AWS_REGION=" + awssmtest.Region,
		"AWS_DEFAULT_REGION=" + awssmtest.Region, // boto3 and version 1 of the AWS CLI read only this one
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
	}
}

// readSeed reads the first secrets, by name. No error quotes the value of a secret.
func readSeed(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(data, &values) != nil || values == nil {
		return nil, fmt.Errorf("%s is not a JSON object whose keys are the names of secrets", file)
	}
	secrets := map[string]string{}
	for name, raw := range values {
		var text string
		var object map[string]any
		switch {
		case json.Unmarshal(raw, &object) == nil && object != nil:
			text = string(raw)
		case json.Unmarshal(raw, &text) != nil:
			return nil, fmt.Errorf("%s: the value of %q is neither an object nor a string", file, name)
		}
		secrets[name] = text
	}
	return secrets, nil
}

// put stores a secret. A value or a name that the server does not accept is an error.
func put(sm *awssmtest.Server, name, value string) (err error) {
	defer func() {
		if p := recover(); p != nil { // without a test, the server reports errors by a panic
			err = fmt.Errorf("%v", p)
		}
	}()
	sm.Put(name, value)
	return nil
}

// rotation returns a rotation function that runs a command with the shell. The command gets the same
// event as a function in AWS Lambda.
func rotation(command string, env []string, stderr io.Writer) awssmtest.RotationFunc {
	return func(ctx context.Context, e awssmtest.RotationEvent) error {
		event, err := json.Marshal(struct{ Step, SecretId, ClientRequestToken string }{e.Step, e.SecretID, e.ClientRequestToken})
		if err != nil {
			return err
		}
		shell := []string{"sh", "-c"}
		if runtime.GOOS == "windows" {
			shell = []string{"cmd", "/C"}
		}
		cmd := exec.CommandContext(ctx, shell[0], shell[1], command)
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdin = bytes.NewReader(append(event, '\n'))
		cmd.Stdout, cmd.Stderr = stderr, stderr
		cmd.WaitDelay = time.Second // child processes may keep the output open
		if err = cmd.Run(); err != nil {
			err = fmt.Errorf("the command of -rotate: %w", err)
			if ctx.Err() == nil {
				fmt.Fprintf(stderr, "sqlsecrets serve: rotation of %s, %s: %v\n", e.SecretID, e.Step, err)
			}
		}
		return err
	}
}
