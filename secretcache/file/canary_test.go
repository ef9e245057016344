package file_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// Nothing that a Source returns, prints or traces shows the content of a file or a variable, even
// if the Source is misused.
func TestCanary(t *testing.T) {
	const canary = "CANARY-7d1e-password"
	const secret = `{"username":"app","password":"` + canary + `"}`
	dir := t.TempDir()
	write(t, dir, files{
		"db.json": secret, "binary": canary + "\xff", "large": secret + strings.Repeat(" ", file.MaxSize),
		"keys/username": "app", "keys/password": canary, "keys/store": canary + "\xff", "keys/d/password": canary,
		"large-keys/a": canary + strings.Repeat(" ", file.MaxSize-10), "large-keys/b": canary,
	})
	check(t, os.Symlink("../db.json", filepath.Join(dir, "keys", "link")))
	check(t, os.Symlink("../db.json", filepath.Join(dir, "large-keys", "link")))
	check(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	check(t, os.Symlink("../db.json", filepath.Join(dir, "in", "app")))
	age(t, dir)
	for _, name := range []string{"db.json", "binary", "keys/username", "keys/password", "keys"} {
		check(t, os.Chmod(filepath.Join(dir, name), 0o777))
	}
	t.Setenv("SECRET", secret)
	t.Setenv("SECRET_PATH", filepath.Join(dir, "db.json"))
	t.Setenv("LARGE", secret+strings.Repeat(" ", file.MaxSize))
	t.Setenv("LONG", secret+strings.Repeat("x", 300))
	t.Setenv("NUL_AND_SLASH", canary+"/x")

	var shown []string
	trace := func(o *file.Options) {
		o.Trace = &file.Trace{
			Permissions: func(i file.PermissionsInfo) { shown = append(shown, fmt.Sprintf("%+v", i)) },
			Skipped:     func(i file.SkippedInfo) { shown = append(shown, fmt.Sprintf("%+v", i)) },
		}
	}
	show := func(v any) {
		shown = append(shown, fmt.Sprint(v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%q", v), fmt.Sprintf("%x", v))
		if b, err := json.Marshal(v); err == nil {
			shown = append(shown, string(b))
		}
		var b strings.Builder
		slog.New(slog.NewTextHandler(&b, nil)).Info("canary", "v", v)
		shown = append(shown, b.String())
	}
	secrets, failures := 0, 0
	for _, s := range []*file.Source{
		file.New(dir, trace), file.New(filepath.Join(dir, "db.json"), trace), file.New(filepath.Join(dir, "none"), trace),
		file.New(filepath.Join(dir, "in"), trace), file.New(filepath.Join(dir, "db.json", "x"), trace),
		file.NewKeys(filepath.Join(dir, "keys"), trace), file.NewKeys(filepath.Join(dir, "large-keys"), trace),
		file.NewKeys(filepath.Join(dir, "db.json"), trace),
		file.NewEnv("SECRET", trace), file.NewEnv("LARGE", trace), file.NewEnvFile("SECRET_PATH", trace),
		// A user, or a shell, passes a value in place of a name or a path.
		file.New(secret, trace), file.NewKeys(secret, trace), file.NewEnv(secret, trace), file.NewEnvFile(secret, trace),
		file.NewEnvFile("SECRET", trace), file.NewEnvFile("LARGE", trace), file.NewEnvFile("LONG", trace),
		file.NewEnvFile("NUL_AND_SLASH", trace), file.New(dir, trace, func(o *file.Options) { o.PathTranslation = secret }),
	} {
		if got := s.String(); got != "file.Source" {
			t.Errorf("String() = %q", got)
		}
		show(s)
		if at := leak.Find(s, canary); at != "" {
			t.Errorf("a Source holds the password at %s", at)
		}
		if err := s.Check(); err != nil {
			show(err)
		}
		for _, id := range []string{"app", "db.json", "binary", "large", "keys", "large-keys", "none", "..", ""} {
			for _, stage := range []string{"", "AWSPENDING"} {
				got, err := s.Fetch(t.Context(), id, stage)
				if err != nil {
					failures++
					show(err)
					if at := leak.Find(err, canary); at != "" {
						t.Errorf("error %q holds the password at %s", err, at)
					}
					continue
				}
				secrets++
				show(got)
				if strings.Contains(got.VersionID(), canary) {
					t.Errorf("version %q", got.VersionID())
				}
			}
		}
	}
	if secrets < 10 || failures < 100 || len(shown) < 500 {
		t.Errorf("%d secrets, %d errors and %d texts prove little", secrets, failures, len(shown))
	}
	for _, text := range shown {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("shows the password: %s", text)
		}
	}
}
