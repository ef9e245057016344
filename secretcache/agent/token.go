package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// DefaultTokenFile is the file with the agent's token. The service that the agent's installation
// script sets up writes it at each start of the machine.
const DefaultTokenFile = "/var/run/awssmatoken"

// The environment variables in which the agent looks for its token, in that order, by
// default (its setting ssrf_env_variables).
var agentTokenEnv = []string{"AWS_TOKEN", extensionTokenEnv, "AWS_CONTAINER_AUTHORIZATION_TOKEN"}

// extensionTokenEnv is the environment variable with the extension's token.
const extensionTokenEnv = "AWS_SESSION_TOKEN"

// TokenFile returns a func for Options.Token that reads the token from a file and removes white
// space around it. If the file is missing or empty, the error of the func matches
// [fs.ErrNotExist], and a fetch waits for the file: it may not have been written yet.
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

// errEmptyFile is the error for a token file that exists but has not been written yet.
var errEmptyFile = fmt.Errorf("file is empty, so it has not been written yet: %w", fs.ErrNotExist)

// A token has the text in a func, because fmt does not print funcs.
type token struct {
	reveal func() string
	from   string // where it is from, for an error text
}

// token reads the token. Its failures do not show it.
func (s *Source) token() (*token, *failure) {
	value, from, err := s.lookUp()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &failure{class: away, text: "no token: " + err.Error(), err: err}
	case err != nil:
		return nil, &failure{text: "no token: " + err.Error(), err: err}
	case value == "":
		return nil, &failure{text: "no token: the one from " + from + " is empty"}
	}
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, &failure{text: "the token from " + from + " has characters that are not allowed in a header"}
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
			" is not set: Lambda sets it, except for functions with SnapStart, which the extension does not support")
	}
	value, err = TokenFile(DefaultTokenFile)()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("none of %s is set, and the default file is missing: %w", strings.Join(env, ", "), err)
	}
	return value, DefaultTokenFile, err
}
