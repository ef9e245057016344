package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

const arnOf = "arn:aws:secretsmanager:us-west-2:123456789012:secret:"

func TestAPartialARNIsNotAnotherSecret(t *testing.T) {
	for _, tt := range []struct {
		name, id, translation string
		files                 files
		want                  string // "" means not found
	}{
		{"both entries exist", arnOf + "my-secret", "", files{"my": other, "my-secret": whole}, whole},
		{"only the entry of the other name exists", arnOf + "my-secret", "", files{"my": other}, ""},
		{"a full ARN", arnOf + "my-a1B2c3", "", files{"my": whole}, whole},
		{"a full ARN with one digit", arnOf + "my-abcde7", "", files{"my": whole}, whole},
		{"a full ARN with one capital letter", arnOf + "my-abcdeF", "", files{"my": whole}, whole},
		{"a name that ends like an ARN", arnOf + "my-a1B2c3", "", files{"my": other, "my-a1B2c3": whole}, whole},
		{"directories", arnOf + "prod/my-secret", "False", files{"prod/my": other}, ""},
		{"directories, both", arnOf + "prod/my-secret", "False", files{"prod/my": other, "prod/my-secret": whole}, whole},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := file.New(write(t, t.TempDir(), tt.files), func(o *file.Options) { o.PathTranslation = tt.translation })
			secret, err := s.Fetch(t.Context(), tt.id, current)
			if tt.want != "" {
				if err != nil || secret.Reveal() != tt.want {
					t.Fatalf("Fetch(%q) = %v, %v, want its own value", tt.id, secret, err)
				}
				return
			}
			if !errors.Is(err, secretcache.ErrNotFound) || !strings.Contains(err.Error(), "use the secret's name as its id") {
				t.Errorf("Fetch(%q) = %v, %v, want not found and the hint to use the name", tt.id, secret, err)
			}
		})
	}
}

func TestLinksThatAreNotFollowedHaveTheirReason(t *testing.T) {
	outside := write(t, t.TempDir(), files{"app": other})
	for _, tt := range []struct {
		name, to, want string // an empty to means the file in the directory, by its absolute path
	}{
		{"loop", "app", "loop"},
		{"absolute, inside", "", "make it relative"},
		{"absolute, outside", filepath.Join(outside, "app"), "may not lead out of the directory"},
		{"relative, outside", "../outside/app", "may not lead out of the directory"},
		{"absolute, to nothing", filepath.Join(outside, "none"), "may not lead out of the directory"},
	} {
		for _, read := range []struct {
			name   string
			source func(dir string) *file.Source
		}{
			{"entry", func(dir string) *file.Source { return file.New(dir) }},
			{"key", func(dir string) *file.Source { return file.NewKeys(dir) }},
		} {
			t.Run(tt.name+"/"+read.name, func(t *testing.T) {
				parent := t.TempDir()
				write(t, parent, files{"outside/app": other, "in/file": whole})
				dir := filepath.Join(parent, "in")
				if tt.to == "" {
					tt.to = filepath.Join(dir, "file")
				}
				check(t, os.Symlink(tt.to, filepath.Join(dir, "app")))
				_, err := read.source(dir).Fetch(t.Context(), "app", current)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want …%s…", err, tt.want)
				}
				if err != nil && tt.want != "may not lead out of the directory" && strings.Contains(err.Error(), "lead out") {
					t.Errorf("%v: it does not lead out", err)
				}
				if tt.to == filepath.Join(dir, "file") {
					tt.to = ""
				}
			})
		}
	}
}

func TestAFileWithOnlyBlanksIsAnError(t *testing.T) {
	dir := write(t, t.TempDir(), files{"app": " \t\r\n\n", "k/username": "u", "k/password": " \n\n"})
	t.Setenv("BLANK_SECRET", " \n")
	for name, s := range map[string]*file.Source{
		"entry": file.New(dir), "file": file.New(filepath.Join(dir, "app")), "variable": file.NewEnv("BLANK_SECRET"),
		"path in a variable": file.NewEnvFile("BLANK_SECRET"),
	} {
		if secret, err := s.Fetch(t.Context(), "app", current); err == nil || !strings.Contains(err.Error(), "blank") {
			t.Errorf("%s: got %v, %v, want an error that says that it is blank", name, secret, err)
		}
	}
	if got, want := fetch(t, file.New(dir), "k").Reveal(), `{"password":"","username":"u"}`; got != want {
		t.Errorf("a blank key: got %s, want %s", got, want)
	}
}

func TestAnIDThatMayBeAPasswordIsNotShown(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("names with a colon")
	}
	const password = "hunter2"
	const id = "postgres://app:" + password + "@db/prod"
	empty := t.TempDir()
	blank := write(t, t.TempDir(), files{"postgres:__app:" + password + "@db_prod": " "})
	t.Setenv("BLANK_SECRET", "")
	for name, s := range map[string]*file.Source{
		"no entry": file.New(empty), "an entry": file.New(blank), "keys": file.NewKeys(empty),
		"no file": file.New(filepath.Join(empty, "none")), "variable": file.NewEnv("BLANK_SECRET"),
	} {
		for _, stage := range []string{current, "AWSPENDING"} {
			_, err := secretcache.New(s, nil).Get(t.Context(), id, stage)
			if err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("%s, %s: got %v, want an error without the id", name, stage, err)
			}
		}
	}
	partial := "arn:aws:secretsmanager:us-west-2:123456789012:secret:postgres://app@db?password=pa-" + "hunter"
	if _, err := file.New(empty).Fetch(t.Context(), partial, current); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("the end of an ARN: got %v, want an error without it", err)
	}
	whole := write(t, t.TempDir(), files{"a name: of another form": whole})
	if got := fetch(t, file.New(whole), "a name: of another form").Reveal(); got == "" {
		t.Error("an id of another form finds nothing")
	}
}
