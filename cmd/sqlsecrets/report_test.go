package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// An interrupted check ends at once and says that it was interrupted.
func TestInterruptedCheck(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	var out, errOut bytes.Buffer
	code := run(ctx, []string{"check", "prod/app?region=us-west-2&endpoint=" + w.aws.URL()}, &out, &errOut)
	if first, _, _ := strings.Cut(out.String(), "\n"); code != exitOther || first != "FAIL not connected: interrupted" {
		t.Errorf("code %d:\n%s%s", code, &out, &errOut)
	}
}

// Symbols are for a terminal with UTF-8 only, and progress is for a terminal only. A file gets
// neither.
func TestOutputWithoutATerminal(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if marksFor(file)[markOK] != "ok  " || marksFor(&bytes.Buffer{})[markOK] != "ok  " {
		t.Error("a file gets symbols")
	}
	if newProgress(file).w != nil {
		t.Error("a file gets progress")
	}
	var b bytes.Buffer
	p := &progress{&b}
	p.show("reading the secret")
	p.clear()
	if got := b.String(); !strings.Contains(got, "reading the secret …") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("progress wrote %q", got)
	}
}

func TestAge(t *testing.T) {
	for ago, want := range map[time.Duration]string{
		-time.Minute: "0s", 90 * time.Second: "1m30s", 5*time.Hour + time.Minute: "5 h", 73 * time.Hour: "3 days",
	} {
		if got := age(time.Now().Add(-ago)); got != want {
			t.Errorf("age of %v = %q, want %q", ago, got, want)
		}
	}
}
