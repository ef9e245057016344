package file_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

const (
	current = secretcache.StageCurrent
	whole   = `{"username":"app","password":"of the whole"}`
	other   = `{"username":"app","password":"of another"}`
)

// keys are the files of a secret with a file for each key, and composed is the secret's value.
var keys = files{"username": "app", "password": "of the keys", "host": "db.example.com"}

const composed = `{"host":"db.example.com","password":"of the keys","username":"app"}`

// under returns files in a directory.
func under(dir string, fs files) files {
	moved := files{}
	for name, content := range fs {
		moved[dir+"/"+name] = content
	}
	return moved
}

func fetch(t *testing.T, s *file.Source, id string) *secretcache.Secret {
	t.Helper()
	secret, err := s.Fetch(t.Context(), id, current)
	if err != nil {
		t.Fatalf("Fetch(%q): %v", id, err)
	}
	return secret
}

func TestAPathHoldsSecretsInThreeWays(t *testing.T) {
	const id = "prod/app/db"
	at := func(path string) func(string) *file.Source {
		return func(dir string) *file.Source { return file.New(filepath.Join(dir, path)) }
	}
	keysAt := func(path string) func(string) *file.Source {
		return func(dir string) *file.Source { return file.NewKeys(filepath.Join(dir, path)) }
	}
	for _, tt := range []struct {
		name   string
		files  files
		source func(dir string) *file.Source
		id     string
		want   string
	}{
		{"a file", files{"db.json": whole}, at("db.json"), id, whole},
		{"a file, for every id", files{"db.json": whole}, at("db.json"), "../other\x00", whole},
		{"a file is the value, byte for byte", files{"db.json": "\n " + whole + "\r\n\n"}, at("db.json"), id, "\n " + whole + "\r\n\n"},
		{"an entry that is a file", files{"prod_app_db": whole, "other": other}, at(""), id, whole},
		{"an entry is the value, byte for byte", files{"key": "value\n"}, at(""), "key", "value\n"},
		{"an entry that is a directory", under("prod_app_db", keys), at(""), id, composed},
		{"a directory with all of them", files{"prod_app_db": whole, "username": "x", "password": "x", "d/password": "x"}, at(""), id, whole},
		{"a directory that is the secret", keys, keysAt(""), id, composed},
		{"a directory that is the secret, for every id", keys, keysAt(""), "..", composed},
		{"one key", files{"password": "p"}, keysAt(""), id, `{"password":"p"}`},
		{"an empty key", files{"password": ""}, keysAt(""), id, `{"password":""}`},
		{"a key's line ending", files{"a": "1\n", "b": "2\r\n", "c": "3\n\n", "d": " 4 ", "e": "5\r", "f": "\n"}, keysAt(""), id,
			`{"a":"1","b":"2","c":"3\n","d":" 4 ","e":"5\r","f":""}`},
		{"keys that JSON escapes", files{"password": "\"\\\u2028<&\t"}, keysAt(""), id, `{"password":"\"\\\u2028\u003c\u0026\t"}`},
		{"skipped files", files{"password": "p", ".hidden": "x", ".d/x": "x", "d/password": "x", "truststore.jks": "\xfe\xed\x00"}, keysAt(""), id,
			`{"password":"p"}`},
		{"a large skipped file", files{"password": "p", ".hidden": strings.Repeat("x", file.MaxSize+1)}, keysAt(""), id, `{"password":"p"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secret := fetch(t, tt.source(write(t, t.TempDir(), tt.files)), tt.id)
			if got := secret.Reveal(); got != tt.want || secret.IsBinary() {
				t.Errorf("value = %q, binary %v, want %q", got, secret.IsBinary(), tt.want)
			}
			if got := secret.ID(); got != tt.id {
				t.Errorf("ID() = %q, want %q", got, tt.id)
			}
			if got := secret.Stages(); !slices.Equal(got, []string{current}) {
				t.Errorf("Stages() = %q", got)
			}
			if age := time.Since(secret.CreatedAt()); age < 59*time.Minute || age > 61*time.Minute {
				t.Errorf("CreatedAt is %v ago, want an hour, when the files were written", age)
			}
		})
	}
}

// In a volume of kubelet, the keys are links to ..data/key, and ..data is a link to a directory
// with the time in its name.
func TestKubernetesVolumes(t *testing.T) {
	dir := t.TempDir()
	newVolume(t, filepath.Join(dir, "keys"), keys)
	newVolume(t, filepath.Join(dir, "items"), under("prod_app_db", keys))
	newVolume(t, filepath.Join(dir, "json"), files{"prod_app_db": whole, "other": other})
	newVolume(t, filepath.Join(dir, "paths"), files{"prod/app/db": whole, "prod/app/keys/password": "p"})
	for _, tt := range []struct {
		name   string
		source *file.Source
		id     string
		want   string
	}{
		{"the secret", file.NewKeys(filepath.Join(dir, "keys")), "prod/app/db", composed},
		{"named by the id", file.New(dir), "keys", composed},
		{"items with paths", file.New(filepath.Join(dir, "items")), "prod/app/db", composed},
		{"CSI", file.New(filepath.Join(dir, "json")), "prod/app/db", whole},
		{"one file of it", file.New(filepath.Join(dir, "json", "other")), "prod/app/db", other},
		{"CSI without path translation", file.New(filepath.Join(dir, "paths"), func(o *file.Options) { o.PathTranslation = "False" }), "prod/app/db", whole},
		{"the same, keys", file.New(filepath.Join(dir, "paths"), func(o *file.Options) { o.PathTranslation = "False" }), "prod/app/keys", `{"password":"p"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fetch(t, tt.source, tt.id).Reveal(); got != tt.want {
				t.Errorf("value = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEntriesAreNamedAsASCPNamesThem(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1B2c3"
	long := strings.Repeat("n", 255)
	for _, tt := range []struct {
		id, translation string
		want            []string
	}{
		{"app", "", []string{"app"}},
		{"prod/app/db", "", []string{"prod_app_db"}},
		{"/prod//app/", "", []string{"_prod__app_"}},
		{"prod/app/db", "_", []string{"prod_app_db"}},
		{"prod/app/db", "-", []string{"prod-app-db"}},
		{"prod/app/db", "False", []string{"prod/app/db"}},
		{"/prod/app/db", "false", []string{"prod/app/db"}},
		{"a.b+c=d@e-f!", "", []string{"a.b+c=d@e-f!"}},
		{".hidden", "", []string{".hidden"}},
		{long, "", []string{long}},
		// An ARN has three names: all of it, the name in it, and the name without the end that
		// Secrets Manager adds.
		{arn, "", []string{strings.ReplaceAll(arn, "/", "_"), "prod_app-a1B2c3", "prod_app"}},
		{arn, "False", []string{arn, "prod/app-a1B2c3", "prod/app"}},
		{strings.TrimSuffix(arn, "-a1B2c3"), "", []string{"arn:aws:secretsmanager:us-west-2:123456789012:secret:prod_app", "prod_app"}},
		{"arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:app-a1b-2c3", "", []string{"arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:app-a1b-2c3", "app-a1b-2c3"}},
		{"arn:aws:secretsmanager:us-west-2:123456789012:secret:-a1b2c3", "", []string{"arn:aws:secretsmanager:us-west-2:123456789012:secret:-a1b2c3", "-a1b2c3"}},
		{"arn:aws:ssm:us-west-2:123456789012:parameter/app", "", []string{"arn:aws:ssm:us-west-2:123456789012:parameter_app"}},
		{"arn:aws:secretsmanager:us-west-2:123456789012:secret:../x-a1b2c3", "False", []string{"arn:aws:secretsmanager:us-west-2:123456789012:secret:../x-a1b2c3"}},
		// No file can have these names.
		{"", "", nil},
		{".", "", nil},
		{"..", "", nil},
		{"../x", "", nil},
		{"..data", "", nil},
		{"..2026_11_24_19_59_01.1/x", "", nil},
		{"a\x00b", "", nil},
		{long + "n", "", nil},
		{"../x", "False", nil},
		{"a/../../x", "False", nil},
		{"a/..data/x", "False", nil},
		{"a//b", "False", nil},
		{"a/", "False", nil},
		{"a/./b", "False", nil},
		{"/", "False", nil},
		{"a/\x00", "False", nil},
	} {
		got, err := file.Entries(tt.id, tt.translation)
		for i := range got {
			got[i] = filepath.ToSlash(got[i])
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("entries of %q with %q = %q, %v, want %q", tt.id, tt.translation, got, err, tt.want)
		}
	}
}

func TestTheEntryOfAnARNComesBeforeTheEntryOfItsName(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1B2c3"
	dir := write(t, t.TempDir(), files{"prod_app": other})
	if got := fetch(t, file.New(dir), arn).Reveal(); got != other {
		t.Errorf("value = %q, want that of the name", got)
	}
	write(t, dir, files{strings.ReplaceAll(arn, "/", "_"): whole})
	if got := fetch(t, file.New(dir), arn).Reveal(); got != whole {
		t.Errorf("value = %q, want that of the ARN", got)
	}
}

// An error says which file cannot be read, and what to do.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, files{
		"db.json": whole, "half": whole[:len(whole)/2], "half indented": "\n\t" + whole[:len(whole)/2], "empty": "", "large": strings.Repeat("x", file.MaxSize+1),
		"halves/a": strings.Repeat("x", file.MaxSize/2+1), "halves/b": strings.Repeat("x", file.MaxSize/2),
		"secrets/other": other, "keys/username": "u", "keys/password": "p",
		"onlyDirs/d/x": "x", "dotted/.x": "x", "outside/x": "x",
	})
	check(t, os.Mkdir(filepath.Join(dir, "nothing"), 0o700))
	check(t, os.Mkdir(filepath.Join(dir, "many"), 0o700))
	for i := range 1001 {
		check(t, os.WriteFile(filepath.Join(dir, "many", "f"+strings.Repeat("i", i%200)+string(rune('A'+i/200))), nil, 0o600))
	}
	check(t, os.Symlink("nowhere", filepath.Join(dir, "secrets", "dangling")))
	check(t, os.Symlink("loop", filepath.Join(dir, "secrets", "loop")))
	check(t, os.Symlink("../db.json", filepath.Join(dir, "secrets", "up")))
	check(t, os.Symlink(filepath.Join(dir, "db.json"), filepath.Join(dir, "secrets", "absolute")))
	check(t, os.Symlink("../db.json", filepath.Join(dir, "outside", "link")))
	check(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	age(t, dir)
	path := func(name string) string { return filepath.Join(dir, name) }

	for _, tt := range []struct {
		name   string
		source *file.Source
		id     string
		kind   error
		says   []string
	}{
		{"no file", file.New(path("none")), "app", secretcache.ErrNotFound, []string{`read secret "app"`, path("none"), "no such file"}},
		{"a link to nothing", file.New(path("dangling")), "app", secretcache.ErrNotFound, []string{path("dangling"), "symbolic link"}},
		{"a file for a directory", file.New(path("db.json/x")), "app", nil, []string{"not a directory"}},
		{"half a file", file.New(path("half")), "app", nil, []string{path("half"), "half written"}},
		{"half an indented file", file.New(path("half indented")), "app", nil, []string{path("half indented"), "half written"}},
		{"an empty file", file.New(path("empty")), "app", nil, []string{path("empty"), "is empty"}},
		{"a large file", file.New(path("large")), "app", nil, []string{path("large"), "larger than 1048576 bytes"}},
		{"no entry", file.New(path("secrets")), "prod/app", secretcache.ErrNotFound, []string{path("secrets"), `"prod_app"`}},
		{"no entry in a directory of keys", file.New(path("keys")), "prod/app", secretcache.ErrNotFound, []string{`"prod_app"`, "file.NewKeys"}},
		{"no entry in a directory of keys, but of that name", file.New(path("")), "nokeys", secretcache.ErrNotFound, []string{`"nokeys"`}},
		{"an impossible id", file.New(path("secrets")), "../db.json\x00", secretcache.ErrNotFound, []string{path("secrets"), "cannot"}},
		{"an entry that links to nothing", file.New(path("secrets")), "dangling", secretcache.ErrNotFound, []string{path("secrets/dangling"), "symbolic link"}},
		{"an entry that links to itself", file.New(path("secrets")), "loop", nil, []string{path("secrets/loop"), "symbolic link"}},
		{"an entry that links outside", file.New(path("secrets")), "up", nil, []string{path("secrets/up"), "out of the directory"}},
		{"an entry that links outside by its path", file.New(path("secrets")), "absolute", nil, []string{path("secrets/absolute"), "out of the directory"}},
		{"an empty entry", file.New(path("")), "empty", nil, []string{path("empty"), "is empty"}},
		{"an entry without keys", file.New(path("")), "nothing", secretcache.ErrNotFound, []string{path("nothing"), "no files for keys"}},
		{"keys in a file", file.NewKeys(path("db.json")), "app", nil, []string{path("db.json"), "is not a directory", "file.New"}},
		{"not a directory of keys", file.NewKeys(path("none")), "app", secretcache.ErrNotFound, []string{path("none")}},
		{"a directory without keys", file.NewKeys(path("nothing")), "app", secretcache.ErrNotFound, []string{path("nothing"), "no files for keys"}},
		{"a directory of directories", file.NewKeys(path("onlyDirs")), "app", secretcache.ErrNotFound, []string{path("onlyDirs"), "no files for keys"}},
		{"a directory of hidden files", file.NewKeys(path("dotted")), "app", secretcache.ErrNotFound, []string{path("dotted"), "no files for keys"}},
		{"large keys", file.NewKeys(path("halves")), "app", nil, []string{path("halves/b"), "larger than"}},
		{"many keys", file.NewKeys(path("many")), "app", nil, []string{path("many"), "more than 1000"}},
		{"a key that links outside", file.NewKeys(path("outside")), "app", nil, []string{path("outside/link"), "escapes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secret, err := tt.source.Fetch(t.Context(), tt.id, current)
			if err == nil {
				t.Fatalf("Fetch = %v, want an error", secret)
			}
			for _, kind := range []error{secretcache.ErrNotFound, secretcache.ErrNoVersion, secretcache.ErrAccessDenied, secretcache.ErrThrottled} {
				if got := errors.Is(err, kind); got != (kind == tt.kind) {
					t.Errorf("error %q is %q: %v", err, kind, got)
				}
			}
			for _, text := range tt.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
		})
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	translation := func(s string) func(*file.Options) { return func(o *file.Options) { o.PathTranslation = s } }
	for _, tt := range []struct {
		name   string
		source *file.Source
		ok     bool
	}{
		{"path", file.New("/mnt/secrets-store"), true},
		{"relative path", file.New("secrets"), true},
		{"no path", file.New(""), false},
		{"JSON for a path", file.New(" " + whole), false},
		{"lines for a path", file.New("/mnt\n/x"), false},
		{"NUL in a path", file.New("/mnt\x00"), false},
		{"no directory", file.NewKeys(""), false},
		{"variable", file.NewEnv("DB_SECRET"), true},
		{"variable of Kubernetes", file.NewEnv("db.secret-1"), true},
		{"no variable", file.NewEnv(""), false},
		{"a value for a variable", file.NewEnv(whole), false},
		{"an assignment for a variable", file.NewEnv("A=b"), false},
		{"a path for a variable", file.NewEnvFile("/run/secrets/db"), false},
		{"translation", file.New("/mnt", translation("-")), true},
		{"no translation", file.New("/mnt", translation("FALSE")), true},
		{"two characters", file.New("/mnt", translation("__")), false},
		{"a space", file.New("/mnt", translation(" ")), false},
		{"not ASCII", file.New("/mnt", translation("é")), false},
	} {
		err := tt.source.Check()
		if (err == nil) != tt.ok {
			t.Errorf("%s: Check() = %v, want an error: %v", tt.name, err, !tt.ok)
		}
		if _, fetchErr := tt.source.Fetch(t.Context(), "app", current); err != nil && !errors.Is(fetchErr, err) {
			t.Errorf("%s: Fetch = %v, want %v", tt.name, fetchErr, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	dir := write(t, t.TempDir(), files{"db.json": whole, "prod_app": other})
	path := filepath.Join(dir, "db.json")
	for _, tt := range []struct {
		name   string
		source *file.Source
		value  string
		want   string // empty means an error
		kind   error
		says   string
	}{
		{"value", file.NewEnv("DB_SECRET"), whole, whole, nil, ""},
		{"bare value", file.NewEnv("DB_SECRET"), "hunter2\n", "hunter2\n", nil, ""},
		{"a path is a value", file.NewEnv("DB_SECRET"), path, path, nil, ""},
		{"no value", file.NewEnv("DB_SECRET"), "", "", nil, `"DB_SECRET" is empty`},
		{"large value", file.NewEnv("DB_SECRET"), strings.Repeat("x", file.MaxSize+1), "", nil, "longer than"},
		{"not set", file.NewEnv("DB_SECRET_NOT_SET"), "", "", secretcache.ErrNotFound, `"DB_SECRET_NOT_SET" is not set`},
		{"path of a file", file.NewEnvFile("DB_SECRET"), path, whole, nil, ""},
		{"path of a directory", file.NewEnvFile("DB_SECRET"), dir, other, nil, ""},
		{"no path", file.NewEnvFile("DB_SECRET"), "", "", nil, `"DB_SECRET" is empty`},
		{"path not set", file.NewEnvFile("DB_SECRET_NOT_SET"), "", "", secretcache.ErrNotFound, `"DB_SECRET_NOT_SET" is not set`},
		{"path of nothing", file.NewEnvFile("DB_SECRET"), filepath.Join(dir, "none"), "", secretcache.ErrNotFound, `"$DB_SECRET"`},
		{"a value is no path", file.NewEnvFile("DB_SECRET"), whole, "", secretcache.ErrNotFound, "file.NewEnv"},
		{"a long value is no path", file.NewEnvFile("DB_SECRET"), whole + strings.Repeat(" ", 5000), "", nil, "file.NewEnv"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("DB_SECRET", tt.value)
			secret, err := tt.source.Fetch(t.Context(), "prod/app", current)
			if tt.want != "" {
				if err != nil || secret.Reveal() != tt.want {
					t.Fatalf("Fetch = %v, %v, want %q", secret, err, tt.want)
				}
				return
			}
			if err == nil || tt.kind != nil && !errors.Is(err, tt.kind) || tt.kind == nil && errors.Is(err, secretcache.ErrNotFound) {
				t.Errorf("Fetch = %v, want the kind %v", err, tt.kind)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
}

func TestAVariableIsReadAtEachFetch(t *testing.T) {
	s := file.NewEnv("DB_SECRET")
	t.Setenv("DB_SECRET", whole)
	before := fetch(t, s, "app")
	t.Setenv("DB_SECRET", other)
	after := fetch(t, s, "app")
	if before.Reveal() != whole || after.Reveal() != other || before.VersionID() == after.VersionID() {
		t.Errorf("Fetch = %v, then %v", before, after)
	}
	if !after.CreatedAt().IsZero() {
		t.Errorf("CreatedAt = %v, want zero", after.CreatedAt())
	}
}

func TestBinary(t *testing.T) {
	const value = "\xff\x00binary\n"
	dir := write(t, t.TempDir(), files{"key": value})
	t.Setenv("DB_SECRET", "\xffenv")
	for want, s := range map[string]*file.Source{
		value:     file.New(dir),
		"\xffenv": file.NewEnv("DB_SECRET"),
	} {
		if secret := fetch(t, s, "key"); !secret.IsBinary() || secret.Reveal() != want {
			t.Errorf("value = %q, binary %v, want %q", secret.Reveal(), secret.IsBinary(), want)
		}
	}
}

func TestOnlyTheCurrentVersion(t *testing.T) {
	dir := write(t, t.TempDir(), files{"app": whole})
	t.Setenv("DB_SECRET", whole)
	for name, s := range map[string]*file.Source{
		"file": file.New(dir), "keys": file.NewKeys(dir), "env": file.NewEnv("DB_SECRET"),
	} {
		for _, stage := range []string{"", current} {
			if _, err := s.Fetch(t.Context(), "app", stage); err != nil {
				t.Errorf("%s: Fetch of stage %q: %v", name, stage, err)
			}
		}
		for _, stage := range []string{"AWSPENDING", "AWSPREVIOUS", "awscurrent"} {
			_, err := s.Fetch(t.Context(), "app", stage)
			if !errors.Is(err, secretcache.ErrNoVersion) || errors.Is(err, secretcache.ErrNotFound) || !strings.Contains(err.Error(), stage) {
				t.Errorf("%s: Fetch of stage %q = %v, want ErrNoVersion", name, stage, err)
			}
		}
	}
}

// For one id, the version id changes only with the value. It does not show the value.
func TestVersionIDChangesOnlyWithTheValue(t *testing.T) {
	dir := write(t, t.TempDir(), files{"a": whole, "b": whole, "k/username": "app", "k/password": "p\n"})
	s := file.New(dir)
	version := func(id string) string { return fetch(t, s, id).VersionID() }
	a, k := version("a"), version("k")
	if a == "" || a[0] != '~' || len(a) < 20 {
		t.Errorf("version %q", a)
	}
	if got := version("a"); got != a {
		t.Errorf("version %q, then %q", a, got)
	}
	write(t, dir, files{"a": whole, "k/password": "p"}) // another inode and time, but the same value
	if got := fetch(t, file.New(filepath.Join(dir, "a")), "a").VersionID(); got != a {
		t.Errorf("another source has version %q, want %q", got, a)
	}
	if got := version("k"); got != k {
		t.Errorf("version %q, then %q of the same value", k, got)
	}
	if got := version("b"); got == a {
		t.Error("two secrets with one value have one version: a log would tell")
	}
	write(t, dir, files{"a": other, "k/password": "q"})
	if got := version("a"); got == a {
		t.Error("another value has the same version")
	}
	if got := version("k"); got == k {
		t.Error("another password has the same version")
	}
}

// Version ids are different in each process, so a reader of a log cannot try passwords on them.
func TestVersionIsOfThisProcess(t *testing.T) {
	version := func() string { return fetch(t, file.NewEnv("DB_SECRET"), "app").VersionID() }
	t.Setenv("DB_SECRET", whole)
	theirs, _ := subprocess.Run(t, func() { os.Stdout.WriteString(version()) })
	if own := version(); len(theirs) != len(own) || theirs == own {
		t.Errorf("version %q here and %q in another process, want two versions", own, theirs)
	}
}

// A fetch ends even if the file system hangs.
func TestAFetchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := write(t, t.TempDir(), files{"app": whole, "other": other})
		s := file.New(dir)
		back := make(chan struct{})
		var reads atomic.Int32
		file.Before(s, func() { reads.Add(1); <-back })

		for range 3 { // as a cache does that asks again
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, err := s.Fetch(ctx, "app", current)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Fetch = %v, want the context's error and the path", err)
			}
			if d := time.Since(start); d != time.Second {
				t.Errorf("Fetch took %v, want 1s", d)
			}
			cancel()
		}
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads are under way, want the one", n)
		}

		// A later fetch gets the secret when the file system works again.
		got := make(chan string)
		go func() { got <- fetch(t, s, "app").Reveal() }()
		synctest.Wait()
		write(t, dir, files{"app": other})
		close(back)
		if v := <-got; v != other {
			t.Errorf("value = %q, want the newer one", v)
		}
		if n := reads.Load(); n != 2 {
			t.Errorf("%d reads, want a second one, which began after the call", n)
		}
	})
}

func TestAHungReadHoldsUpNoOtherSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := file.New(write(t, t.TempDir(), files{"app": whole, "other": other}))
		back := make(chan struct{})
		var hang atomic.Bool
		hang.Store(true)
		file.Before(s, func() {
			if hang.Load() {
				<-back
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Fetch(ctx, "app", current); err == nil {
			t.Fatal("Fetch returned")
		}
		hang.Store(false)
		if got := fetch(t, s, "other").Reveal(); got != other {
			t.Errorf("value = %q", got)
		}
		close(back)
	})
}

func TestAContextThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("DB_SECRET", whole)
	for _, s := range []*file.Source{file.New(write(t, t.TempDir(), files{"app": whole})), file.NewEnv("DB_SECRET")} {
		if _, err := s.Fetch(ctx, "app", current); !errors.Is(err, context.Canceled) {
			t.Errorf("Fetch = %v, want the context's error", err)
		}
	}
}
