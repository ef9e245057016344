// Package file is the [secretcache.Source] of secrets that something else has put
// into files or environment variables: the Secrets Store CSI driver, Kubernetes,
// Docker, ECS, Batch, App Runner, GitLab. It needs the standard library only.
//
// # What a path holds
//
// The file system says, at each fetch, which of these a path given to [New] is:
//
//   - a file: it is the secret, whatever the id;
//   - a directory: the secret is its entry that is named for the id. An entry that
//     is a file is the secret as a whole. One that is a directory has a file for each
//     key of the secret.
//
// A directory that is itself a secret, with a file for each key, is [NewKeys]'s. It
// is never taken for one by its looks, since it would then answer for a mistyped id
// with another secret's password.
//
// # Names
//
// The entry of an id is named as AWS's provider for the CSI driver (ASCP) names it:
// the secret's name, or the whole ARN, with "_" for each "/"; see
// [Options.PathTranslation]. For an ARN that has no entry it is the name in the ARN, then
// that name without the hyphen and six characters at its end. It is not cut if the six are
// lower case letters only: "my-secret" in a partial ARN must not find the secret "my". The
// ARN's account and region are not looked at then. A file that was mounted under an alias
// (objectAlias) is found by the alias as the id, or by its own path.
//
// No id leads out of the directory: names that are empty, begin with ".." or have a
// separator or a NUL are not found, and a symbolic link out of it is an error, as is an
// absolute one into it. Kubernetes' own links, through "..data", stay inside.
//
// # Values
//
// A file that is the secret as a whole is the value to the byte, and so is an
// environment variable. Of files for keys, the value is a JSON object of strings:
//
//	{"host":"db.example.com","password":"…","username":"app"}
//
// One line ending ("\n" or "\r\n") at the end of such a file is not part of the
// string, for editors and echo write one; Spring's configtree and Tomcat's chomp
// remove as much, and $(<file) of Docker's official images all of them. Left out are
// names that begin with a dot, directories, and files that are not UTF-8
// ([Trace.Skipped]). A file for a key that has only blanks is an empty string. A whole
// value that is not UTF-8 is a binary secret. One that is blank is an error, and so is a
// file that begins with a brace and is no JSON, because it may be half written.
//
// Files of a secret have at most [MaxSize] bytes together.
//
// # One version
//
// User and password come from the same version. Files behind "..data", the symbolic
// link that Kubernetes swaps, are read through one resolution of it. Files for keys are
// looked at again after they were read, and read again if anything changed meanwhile.
// What is not behind "..data" and was changed less than 100 ms ago is read again when
// that time is over: ASCP, unless the CSI driver writes for it, replaces one file after
// the other. A writer that pauses for longer between the user and the password is not
// noticed; keep both in one file then.
//
// A secret has no version but AWSCURRENT, and its version id is a digest of the
// value, keyed with a number of the process: equal for equal values of one id, and of
// no use to who reads it in a log.
//
// # Errors
//
// They name the path and say what to do, match ErrNotFound, ErrNoVersion and
// ErrAccessDenied of package secretcache, and hold nothing of a file or variable. A
// variable that should hold a path may hold the secret by mistake: what [NewEnvFile]
// finds in it is shown nowhere; "$NAME" stands for it. An id that is neither a secret's name
// nor an ARN is not shown either.
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

// MaxSize is how many bytes the files of one secret may have together: 1 MiB, as
// much as a Secret of Kubernetes. Secrets Manager's own limit is 64 KiB.
const MaxSize = 1 << 20

// Options change what a [Source] does. The zero value means the defaults.
type Options struct {
	// PathTranslation is what stands for "/" in the names of a directory's entries,
	// and is what the SecretProviderClass has under this name: one character, or
	// "False", in any case, for none; then a secret prod/app is the file app in the
	// directory prod. Empty means "_". Only [New] and [NewEnvFile] use it.
	PathTranslation string

	// Trace has funcs that are called at events. Nil: none.
	Trace *Trace
}

// A kind is what a Source reads.
type kind int

const (
	fromPath kind = iota
	fromKeys
	fromEnv
	fromEnvFile
)

// A Source reads secrets from files or an environment variable, anew at each fetch.
// Its methods may be called from several goroutines at once. It has no goroutine but
// those of fetches.
type Source struct {
	kind   kind
	arg    string // the path, or the variable's name
	slash  string // what stands for "/" in a file's name; "/" for none
	argErr error  // what is wrong with the above; every fetch returns it
	trace  Trace
	load   func(ctx context.Context, id string) (finding, error) // readFiles, but for tests

	mu      sync.Mutex
	reading map[string]chan struct{} // by id, the read under way; closed at its end
	traced  map[any]struct{}         // what Trace has been told
}

var _ secretcache.Source = (*Source)(nil)

// New returns the Source of a file, which is the secret whatever the id, or of a
// directory with an entry for each secret; the package's documentation says how they
// are told apart. A path that is not absolute is relative to the working directory at
// each fetch.
//
// No constructor looks at files or variables. Arguments that cannot be used are
// errors of the first fetch, and of [Source.Check].
func New(path string, optFns ...func(*Options)) *Source {
	return newSource(fromPath, path, optFns)
}

// NewKeys returns the Source of a directory that is itself one secret, whatever the
// id, with a file for each key: a volume of a Kubernetes Secret, or Docker's
// /run/secrets with username and password in it.
func NewKeys(dir string, optFns ...func(*Options)) *Source {
	return newSource(fromKeys, dir, optFns)
}

// NewEnv returns the Source of an environment variable that holds the value of the
// secret, whatever the id, as ECS, Batch and App Runner inject it. Nothing outside
// changes the variables of a process: after a rotation it has to be started anew.
func NewEnv(name string, optFns ...func(*Options)) *Source {
	return newSource(fromEnv, name, optFns)
}

// NewEnvFile returns the Source of an environment variable that holds a path, as
// GitLab's variables of type File do, and those whose names by convention end in
// _FILE. The path is [New]'s.
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

// CheckPath says what is wrong with a path for [New] and [NewKeys]. It looks at no file
// and makes no Source; its error does not quote the path, which may be a secret by
// mistake.
func CheckPath(path string) error { return checkArg(fromPath, path) }

// CheckEnv says the same of the name of a variable for [NewEnv] and [NewEnvFile].
func CheckEnv(name string) error { return checkArg(fromEnv, name) }

// checkArg says what is wrong with a path or a name. It quotes neither: a shell may
// have put the secret there for the name of its variable.
func checkArg(k kind, arg string) error {
	switch {
	case k == fromPath || k == fromKeys:
		if arg == "" {
			return errors.New("the path of the secrets' file or directory is empty")
		}
		if strings.HasPrefix(strings.TrimSpace(arg), "{") || strings.ContainsFunc(arg, func(r rune) bool { return r < ' ' }) {
			return errors.New("what should be the path of the secrets' file or directory is none: is it the value of a secret?")
		}
	case !validEnv(arg):
		return errors.New("what should be the name of an environment variable is none (letters, digits and _.-): is it the value of a secret?")
	}
	return nil
}

func validEnv(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r))
	})
}

// Check returns what is wrong with the arguments that the Source was made with, which
// every Fetch returns as well. It does not look at files or variables, and its error
// does not quote the arguments.
func (s *Source) Check() error { return s.argErr }

// String returns the package's name. It shows nothing of the arguments.
func (s *Source) String() string { return "file.Source" }

// Fetch reads the secret. An empty stage means AWSCURRENT; any other than that is
// ErrNoVersion. The secret's CreatedAt is when its files were last modified, and zero
// for a variable.
//
// It returns soon after ctx ends, also if the file system hangs; the read is then left
// behind, with a thread of the process, and a later Fetch of the id waits for its end
// before it reads anew: there is one read of an id at most.
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

// await has the files read by a goroutine, and returns when it is through or ctx ends.
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

// begin waits until no read of id is under way, and notes the one that begins.
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

// shown is how errors and traces name the file or directory of the secrets.
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
		err = fmt.Errorf("environment variable %q is longer than %d bytes: it is no secret", s.arg, MaxSize)
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

// readFiles looks at the files until they hold still.
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
	for range maxLooks {
		f, err := s.look(at, id)
		if !errors.As(err, &again) {
			return f, err
		}
		if err := deadline.Sleep(ctx, max(again.wait, minWait)); err != nil {
			return f, fmt.Errorf("%w: %w", again.err, err)
		}
	}
	return finding{}, again.err
}
