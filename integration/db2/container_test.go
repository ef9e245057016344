//go:build db2

package db2_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
)

const (
	imageEnv     = "SQLSECRETS_DB2_IMAGE"
	defaultImage = "icr.io/db2_community/db2:12.1.1.0"
)

// TestDb2 runs the conformance suite on a Db2 in a container, the community image with a database
// SAMPLE. If you run this test, you accept the license of the image. Its users are those of the
// operating system in the container. The test follows the documentation of the image (IBM
// Documentation, "Installing the Db2 Community Edition Docker image on Linux systems"). We have
// never run it.
func TestDb2(t *testing.T) {
	image := os.Getenv(imageEnv)
	if image == "" {
		image = defaultImage
	}
	ctx := t.Context()
	c, err := testcontainers.Run(ctx, image,
		testcontainers.WithEnv(map[string]string{
			"LICENSE": "accept", "DB2INSTANCE": "db2inst1", "DB2INST1_PASSWORD": "testdb-Admin", "DBNAME": "SAMPLE",
			"ARCHIVE_LOGS": "false", "AUTOCONFIG": "false", // starts some minutes earlier
		}),
		testcontainers.WithExposedPorts("50000/tcp"),
		testcontainers.WithHostConfigModifier(func(h *dockercontainer.HostConfig) { h.Privileged = true }),
		testcontainers.WithWaitStrategyAndDeadline(15*time.Minute, wait.ForLog("Setup has completed")),
	)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		if c == nil && os.Getenv(imageEnv) == "" {
			t.Skipf("no Db2: %s (%s=%s)", strings.Join(strings.Fields(err.Error()), " "), imageEnv, image)
		}
		t.Fatal(err)
	}
	host, err := c.Host(ctx)
	if err != nil {
		t.Fatal(err)
	}
	port, err := c.MappedPort(ctx, "50000/tcp")
	if err != nil {
		t.Fatal(err)
	}
	s := suite(host, int(port.Num()))
	s.SetPassword = func(tb testing.TB, user, password string) {
		tb.Helper()
		if err := setPassword(tb.Context(), c, user, password); err != nil {
			tb.Fatal(err)
		}
	}
	drivertest.Run(t, s)
}

// setPassword gives a user of the operating system a password, and creates the user if it does not
// exist. Names of users in Db2 have no case. Every user that can log in may connect, because PUBLIC
// may connect to a database that was made without RESTRICTIVE.
func setPassword(ctx context.Context, c testcontainers.Container, user, password string) error {
	if strings.ContainsAny(user, "'\n") || strings.Contains(password, "\n") {
		return fmt.Errorf("user %q: no name or password for this shell command", user)
	}
	script := fmt.Sprintf("id -u '%[1]s' >/dev/null 2>&1 || useradd '%[1]s' && printf '%%s\\n' \"$LOGIN\" | chpasswd", user)
	code, out, err := c.Exec(ctx, []string{"sh", "-c", script}, exec.WithUser("root"), exec.WithEnv([]string{"LOGIN=" + user + ":" + password}))
	if err != nil {
		return err
	}
	if code != 0 {
		text, _ := io.ReadAll(io.LimitReader(out, 1000))
		return fmt.Errorf("set the password of user %q: status %d: %s", user, code, text)
	}
	return nil
}
