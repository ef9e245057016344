//go:build unix

package awssm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The configuration file is on a file system that hangs. Callers wait for one loading, each
// until its own deadline. When the file can be read, its configuration is used.
func TestLoadingThatHangs(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	file := filepath.Join(t.TempDir(), "config")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skip("no FIFO: ", err)
	}
	env(t, map[string]string{
		"AWS_CONFIG_FILE": file, "AWS_ENDPOINT_URL": s.URL(),
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
	})
	src := awssm.New()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := src.Fetch(ctx, "a", ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}

	patient, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	wg.Go(func() {
		if _, err := src.Fetch(patient, "a", ""); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(file, []byte("[default]\nregion = eu-central-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if r := s.Requests(); len(r) != 1 || r[0].Region != "eu-central-1" {
		t.Errorf("%+v", r)
	}
}
