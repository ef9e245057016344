package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// MaxSize is the largest number of bytes that the files of one secret may have together:
// 1 MiB, the limit of a Kubernetes Secret. The limit of Secrets Manager is 64 KiB.
const MaxSize = 1 << 20

// Options change what a [Source] does. The zero value means the defaults.
type Options struct {
	// PathTranslation is the character that replaces "/" in the names of a directory's
	// entries. Set it to the value that the SecretProviderClass has under this name: one
	// character, or "False" (in any case) for no replacement. With "False" the secret prod/app
	// is the file app in the directory prod. Empty means "_". Only [New] and [NewEnvFile]
	// use it. Any other value is an error of the first fetch.
	PathTranslation string

	// Trace has funcs that the source calls at events. Nil means none.
	Trace *Trace
}

// A kind says what a Source reads.
type kind int

const (
	fromPath kind = iota
	fromKeys
	fromEnv
	fromEnvFile
)

// A Source reads secrets from files or from an environment variable. It reads again at each
// fetch and keeps nothing; see [secretcache.Cache]. Its methods may be called from several
// goroutines at once. It has a goroutine only while a fetch reads files, and needs no closing.
type Source struct {
	kind   kind
	arg    string // the path, or the variable's name
	slash  string // replaces "/" in a file's name; "/" for no replacement
	argErr error  // what is wrong with the fields above; every fetch returns it
	trace  Trace
	load   func(ctx context.Context, id string) (finding, error) // readFiles; tests replace it

	mu      sync.Mutex
	reading map[string]chan struct{} // by id: the read under way; closed at its end
	traced  map[any]struct{}         // events that Trace was called for
}

var _ secretcache.Source = (*Source)(nil)

// New returns a Source for a directory with one entry for each secret, or for a file that is the
// secret for every id. The package documentation says how New tells them apart. A relative
// path is relative to the working directory at each fetch.
//
// No constructor reads files or variables. Arguments that cannot be used are errors of
// [Source.Check] and of the first fetch.
func New(path string, optFns ...func(*Options)) *Source {
	return newSource(fromPath, path, optFns)
}

// NewKeys returns a Source for a directory that is one secret, for every id, with a file for
// each key: a volume of a Kubernetes Secret, or Docker's /run/secrets with the files
// username and password.
func NewKeys(dir string, optFns ...func(*Options)) *Source {
	return newSource(fromKeys, dir, optFns)
}

// NewEnv returns a Source for an environment variable that holds the value of the secret,
// for every id. ECS, Batch and App Runner set such variables. Nothing outside a process can
// change its variables, so the process must be restarted after a rotation.
func NewEnv(name string, optFns ...func(*Options)) *Source {
	return newSource(fromEnv, name, optFns)
}

// NewEnvFile returns a Source for an environment variable that holds a path. GitLab's
// variables of the type File do, and so do variables whose names end in _FILE by
// convention. The path is used as the argument of [New] is.
func NewEnvFile(name string, optFns ...func(*Options)) *Source {
	return newSource(fromEnvFile, name, optFns)
}

func newSource(k kind, arg string, optFns []func(*Options)) *Source {
	var o Options
	for _, fn := range optFns {
		if fn != nil {
			fn(&o)
		}
	}
	s := &Source{kind: k, arg: arg, reading: map[string]chan struct{}{}, traced: map[any]struct{}{}}
	s.load = s.readFiles
	if o.Trace != nil {
		s.trace = *o.Trace
	}
	if s.argErr = checkArg(k, arg); s.argErr != nil {
		s.arg = "" // it may be a secret
	}
	var err error
	if s.slash, err = separator(o.PathTranslation); s.argErr == nil {
		s.argErr = err
	}
	return s
}

// CheckPath returns an error if [New] and [NewKeys] cannot use the path, for example because
// it is empty. It reads no file. The error does not quote the path, which may be a secret by
// mistake.
func CheckPath(path string) error { return checkArg(fromPath, path) }

// CheckEnv returns an error if name cannot be the name of a variable for [NewEnv] and
// [NewEnvFile]. It does not read the variable. The error does not quote the name.
func CheckEnv(name string) error { return checkArg(fromEnv, name) }

// checkArg returns what is wrong with a path or a name. It quotes neither, because a shell
// may have replaced the name of a variable with its value.
func checkArg(k kind, arg string) error {
	switch {
	case k == fromPath || k == fromKeys:
		if arg == "" {
			return errors.New("the path of the secrets' file or directory is empty")
		}
		if strings.HasPrefix(strings.TrimSpace(arg), "{") || strings.ContainsFunc(arg, func(r rune) bool { return r < ' ' }) {
			return errors.New("not a path of a file or directory of secrets: is it the value of a secret?")
		}
	case !validEnv(arg):
		return errors.New("not the name of an environment variable (letters, digits and _.-): is it the value of a secret?")
	}
	return nil
}

func validEnv(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r))
	})
}

// Check returns an error if the arguments that the Source was made with cannot be used. Every
// Fetch then returns the same error. Check reads no files or variables, and its error does
// not quote the arguments.
func (s *Source) Check() error { return s.argErr }

// String returns "file.Source". It shows none of the arguments.
func (s *Source) String() string { return "file.Source" }

// Fetch reads the secret. An empty stage means AWSCURRENT. Any other stage than AWSCURRENT
// is ErrNoVersion. The secret's CreatedAt is when its files were last modified, and zero for
// a variable.
//
// Fetch returns soon after ctx ends, even if the file system hangs. The read then stays blocked
// and keeps a thread of the process. A later Fetch of the same id waits until that read ends,
// so at most one read of an id is blocked.
func (s *Source) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	f, err := s.fetch(ctx, id, stage)
	s.report(f.events)
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", secretid.Quote(id), err)
	}
	v := secretcache.Value{
		ID: id, VersionID: version(id, f.data),
		Stages: []string{secretcache.StageCurrent}, CreatedAt: f.modified,
	}
	if utf8.Valid(f.data) {
		v.String = string(f.data)
	} else {
		v.Binary = f.data
	}
	return secretcache.NewSecret(v), nil
}

func (s *Source) fetch(ctx context.Context, id, stage string) (finding, error) {
	switch {
	case s.argErr != nil:
		return finding{}, s.argErr
	case ctx.Err() != nil:
		return finding{}, ctx.Err()
	case stage != "" && stage != secretcache.StageCurrent:
		return finding{}, fmt.Errorf("files and variables have AWSCURRENT only, no %q: %w", stage, secretcache.ErrNoVersion)
	case s.kind == fromEnv:
		return s.readEnv()
	}
	return s.await(ctx, id)
}

// await reads the files in a goroutine. It returns when the read has ended, or when ctx
// ends.
func (s *Source) await(ctx context.Context, id string) (finding, error) {
	done, err := s.begin(ctx, id)
	if err != nil {
		return finding{}, err
	}
	var found finding
	var failed error
	go func() {
		defer s.end(id, done)
		found, failed = s.load(ctx, id)
	}()
	select {
	case <-done:
		return found, failed
	case <-ctx.Done():
		return finding{}, s.hangs(ctx)
	}
}

// begin waits until no read of id is under way, and notes that one begins.
func (s *Source) begin(ctx context.Context, id string) (done chan struct{}, err error) {
	for {
		s.mu.Lock()
		before := s.reading[id]
		if before == nil {
			done = make(chan struct{})
			s.reading[id] = done
		}
		s.mu.Unlock()
		if before == nil {
			return done, nil
		}
		select {
		case <-before:
		case <-ctx.Done():
			return nil, s.hangs(ctx)
		}
	}
}

func (s *Source) end(id string, done chan struct{}) {
	s.mu.Lock()
	delete(s.reading, id)
	s.mu.Unlock()
	close(done)
}

func (s *Source) hangs(ctx context.Context) error {
	return fmt.Errorf("no answer from the file system of %q: %w", s.shown(), ctx.Err())
}

// shown returns the name of the file or directory of the secrets for errors and traces.
func (s *Source) shown() string {
	if s.kind == fromEnvFile {
		return "$" + s.arg
	}
	return s.arg
}

// readEnv reads the variable that holds the value.
func (s *Source) readEnv() (finding, error) {
	value, err := s.lookup()
	if err == nil && len(value) > MaxSize {
		err = fmt.Errorf("environment variable %q is longer than %d bytes: it cannot be a secret", s.arg, MaxSize)
	}
	return finding{data: []byte(value)}, err
}

func (s *Source) lookup() (string, error) {
	value, ok := os.LookupEnv(s.arg)
	switch {
	case !ok:
		return "", fmt.Errorf("environment variable %q is not set: %w", s.arg, secretcache.ErrNotFound)
	case strings.TrimSpace(value) == "":
		return "", fmt.Errorf("environment variable %q is empty or blank", s.arg)
	}
	return value, nil
}

// readFiles reads the files, and reads them again while they change.
func (s *Source) readFiles(ctx context.Context, id string) (finding, error) {
	at := place{path: s.arg, shown: s.shown()}
	if s.kind == fromEnvFile {
		path, err := s.lookup()
		if err != nil {
			return finding{}, err
		}
		at.path = path
	}
	var again *changing
	for range maxReads {
		f, err := s.readPath(at, id)
		if !errors.As(err, &again) {
			return f, err
		}
		if err := deadline.Sleep(ctx, max(again.wait, minWait)); err != nil {
			return f, fmt.Errorf("%w: %w", again.err, err)
		}
	}
	return finding{}, again.err
}
