package integration_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// The README's program starts at each step of a rotation, verifies the server's certificate, is healthy,
// answers a query, and ends at SIGTERM with the exit code 0.
func TestExampleProduction(t *testing.T) {
	e := engineNamed("postgres")
	v := newEnv(t, e, testdb.Options{TLS: true})
	path := filepath.Join(buildExamples(t, "../examples", "production"), "production")
	defer http.DefaultClient.CloseIdleConnections()
	run := func(step string) {
		address := freeAddress(t)
		cmd := v.example(t.Context(), path, "-listen", address, "-dsn", v.id+"?"+e.verify(t, v.CA))
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "the service is healthy", func() bool {
			status, _ := get("http://" + address + "/healthz")
			return status == http.StatusOK
		})
		status, body := get("http://" + address + "/time")
		if _, err := time.Parse(time.RFC3339+"\n", body); status != http.StatusOK || err != nil {
			t.Errorf("before %s, /time answers %d %q", step, status, body)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("before %s, the service: %v\n%s", step, err, log.String())
		}
	}
	if err := v.rotate(t.Context(), run); err != nil {
		t.Error(err)
	}
	run("the end")
	v.crossed(t, 1)
}

// freeAddress returns a loopback address that nothing listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get returns status and body, or 0 if the server does not answer.
func get(url string) (status int, body string) {
	res, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}
