package file

import (
	"errors"
	"path/filepath"
	"strings"
)

// maxName is the longest name of a file, in bytes, on all file systems that matter.
const maxName = 255

// separator returns what stands for "/" in names with a PathTranslation.
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

// entries returns the names that the entry of an id may have, in the order in which
// they are looked for. There are none for an id that no file can be named for.
func entries(id, slash string) []string {
	ids := []string{id}
	if name, ok := nameInARN(id); ok {
		ids = append(ids, name)
	}
	var names []string
	for _, id := range ids {
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

// nameInARN returns the secret's name in the ARN of a secret. A full ARN has a hyphen
// and six characters behind the name; one without is taken as Secrets Manager takes
// it, to end in the name.
func nameInARN(id string) (string, bool) {
	parts := strings.SplitN(id, ":", 7)
	if len(parts) != 7 || parts[0] != "arn" || parts[2] != "secretsmanager" || parts[5] != "secret" {
		return "", false
	}
	name := parts[6]
	if i := len(name) - 7; i > 0 && name[i] == '-' && !strings.ContainsFunc(name[i+1:], notAlphanumeric) {
		name = name[:i]
	}
	return name, true
}

func notAlphanumeric(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
}

// validName reports whether a relative path, with slashes, names an entry of a
// directory or of directories in it. What begins with ".." is Kubernetes' own.
func validName(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || strings.HasPrefix(part, "..") || len(part) > maxName || strings.ContainsRune(part, 0) ||
			filepath.Separator != '/' && strings.ContainsRune(part, filepath.Separator) {
			return false
		}
	}
	return filepath.IsLocal(filepath.FromSlash(name))
}
