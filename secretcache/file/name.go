package file

import (
	"errors"
	"path/filepath"
	"strings"
)

// maxName is the length in bytes of the longest file name on common file systems.
const maxName = 255

// separator returns what replaces "/" in names for a PathTranslation.
func separator(translation string) (string, error) {
	switch {
	case translation == "":
		return "_", nil
	case strings.EqualFold(translation, "false"):
		return "/", nil
	case len(translation) != 1 || translation[0] <= ' ' || translation[0] > '~':
		return "", errors.New(`Options.PathTranslation is neither one character nor "False"`)
	}
	return translation, nil
}

// entries returns the names that the entry of an id may have, in the order in which they
// are tried. It returns none if no file can have such a name.
func entries(id, slash string) []string {
	var names []string
	for _, id := range append([]string{id}, namesInARN(id)...) {
		if slash == "/" {
			id = strings.TrimLeft(id, "/") // as ASCP does
		} else {
			id = strings.ReplaceAll(id, "/", slash)
		}
		if validName(id) {
			names = append(names, filepath.FromSlash(id))
		}
	}
	return names
}

// namesInARN returns the names that the secret of an ARN may have: the name in the ARN, and
// then that name without its end if the end looks like the one that Secrets Manager appends.
func namesInARN(id string) []string {
	parts := strings.SplitN(id, ":", 7)
	if len(parts) != 7 || parts[0] != "arn" || parts[2] != "secretsmanager" || parts[5] != "secret" {
		return nil
	}
	names := []string{parts[6]}
	if name, end := cutEnd(parts[6]); strings.ContainsFunc(end, digitOrCapital) {
		names = append(names, name)
	}
	return names
}

// cutEnd cuts a hyphen and six letters or digits off the end of an ARN. In a full ARN these
// six are random, and nearly always one of them is a digit or a capital letter. In a partial
// ARN they belong to the name.
func cutEnd(s string) (name, end string) {
	if i := len(s) - 7; i > 0 && s[i] == '-' && !strings.ContainsFunc(s[i+1:], notAlphanumeric) {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func digitOrCapital(r rune) bool { return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' }

func notAlphanumeric(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
}

// validName reports whether a relative path, with slashes, can be the name of an entry of a
// directory or of a directory inside it. Names that begin with ".." belong to Kubernetes.
func validName(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || strings.HasPrefix(part, "..") || len(part) > maxName || strings.ContainsRune(part, 0) ||
			filepath.Separator != '/' && strings.ContainsRune(part, filepath.Separator) {
			return false
		}
	}
	return filepath.IsLocal(filepath.FromSlash(name))
}
