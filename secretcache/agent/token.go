package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// DefaultTokenFile is where the agent's installation script has the token written, at
// each start of the machine.
const DefaultTokenFile = "/var/run/awssmatoken"

// The environment variables in which the agent looks for its token, in that order, by
// default (its setting ssrf_env_variables).
var agentTokenEnv = []string{"AWS_TOKEN", extensionTokenEnv, "AWS_CONTAINER_AUTHORIZATION_TOKEN"}

// extensionTokenEnv is the one that the extension takes.
const extensionTokenEnv = "AWS_SESSION_TOKEN"

// TokenFile returns a func for Options.Token that reads a file, without white space
// around what is in it. Its error matches [fs.ErrNotExist] if the file is missing or
// empty: it is written when the machine starts.
func TokenFile(path string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(b))
		if token == "" {
			return "", &fs.PathError{Op: "read", Path: path, Err: errEmptyFile}
		}
		return token, nil
	}
}

// errEmptyFile is a token file that has been made and not yet written.
var errEmptyFile = fmt.Errorf("file is empty, as one that does not yet exist: %w", fs.ErrNotExist)

// A token is a func, which fmt does not print.
type token struct {
	reveal func() string
	from   string // where it is from, for an error
}

// token reads the token. Its failures are without it.
func (s *Source) token() (*token, *failure) {
	value, from, err := s.lookUp()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &failure{class: away, text: "no token: " + err.Error(), err: err}
	case err != nil:
		return nil, &failure{text: "no token: " + err.Error(), err: err}
	case value == "":
		return nil, &failure{text: "no token: what is from " + from + " is empty"}
	}
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, &failure{text: "the token from " + from + " has characters that a header cannot have"}
		}
	}
	return &token{func() string { return value }, from}, nil
}

func (s *Source) lookUp() (value, from string, err error) {
	if s.o.Token != nil {
		value, err = s.o.Token()
		return value, "Options.Token", err
	}
	env := agentTokenEnv
	if s.extension {
		env = []string{extensionTokenEnv}
	}
	for _, name := range env {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		path, isFile := strings.CutPrefix(value, "file://")
		if !isFile || s.extension {
			return value, name, nil
		}
		value, err = TokenFile(path)()
		return value, "the file that " + name + " names", err
	}
	if s.extension {
		return "", "", errors.New("environment variable " + extensionTokenEnv +
			" is not set: Lambda sets it, but not for functions with SnapStart, for which the extension is not made")
	}
	value, err = TokenFile(DefaultTokenFile)()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("none of %s is set, and there is no default: %w", strings.Join(env, ", "), err)
	}
	return value, DefaultTokenFile, err
}
