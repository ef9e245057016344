// Package secretid checks the id of a secret, which is a name or an ARN.
package secretid

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
)

// The greatest lengths of a name and of an id, in characters. The source is the Secrets Manager API
// reference: Name of CreateSecret and SecretId of GetSecretValue.
const (
	maxName = 512
	maxID   = 2048
)

// Check returns an error if id is not the id of a secret. Its errors do not quote the id, because
// somebody will pass postgres://user:password@host.
func Check(id string) error {
	arn := strings.HasPrefix(id, "arn:")
	lower := strings.ToLower(id)
	switch {
	case id == "":
		return errors.New("the secret id is empty")
	case arn && len(id) > maxID, !arn && len(id) > maxName:
		return fmt.Errorf("the secret id is longer than %d characters (an ARN: %d)", maxName, maxID)
	case strings.Contains(id, "://"):
		return errors.New("the secret id is a database's URL; give the name or ARN of a secret that holds the credentials")
	case strings.Contains(lower, "password=") || strings.Contains(lower, "pwd="):
		return errors.New("the secret id is a database's connection string; give the name or ARN of a secret that holds the credentials")
	}
	if i := strings.IndexFunc(id, func(r rune) bool { return !mayHave(arn, r) }); i >= 0 {
		return fmt.Errorf(`the secret id has %s in it, which none has; it is a name of letters, digits and "/_+=.@-!", or an ARN`, Char(id[i:]))
	}
	if arn {
		return checkARN(split(id))
	}
	return nil
}

// mayHave reports whether an ARN or a name may have a character.
func mayHave(arn bool, r rune) bool {
	return isAlnum(r) || strings.ContainsRune("/_+=.@-!", r) || arn && r == ':'
}

// Char returns the name that an error gives to the first character of s.
func Char(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	switch {
	case r == ' ':
		return "a space"
	case r == '"', r == '\'':
		return "a quotation mark"
	case r == utf8.RuneError, unicode.IsControl(r):
		return "a character that cannot be printed"
	}
	return "the character " + strconv.QuoteRune(r)
}

// Quote returns an id in the form that an error may show. That is the id in quotation marks or, if
// it is no id and so may hold a password, a fixed text.
func Quote(id string) string {
	if Check(id) != nil {
		return "(not shown, because it is neither a name nor an ARN)"
	}
	return strconv.Quote(id)
}

func checkARN(part []string) error {
	switch {
	case len(part) < 7 || part[2] != "secretsmanager" || part[5] != "secret" || slices.Contains(part, ""):
		return errors.New("the ARN is not a secret's; one is arn:aws:secretsmanager:<region>:<account>:secret:<name>")
	case !awsregion.Valid(part[3]):
		return errors.New("the region in the ARN is not an AWS region's name like us-west-2")
	case strings.Contains(part[6], ":"):
		return errors.New(`the ARN has a key of the secret after the secret's name, as ECS writes it: cut off what follows the name, with the ":" before it`)
	}
	if meant := awsregion.Meant(part[3]); meant != "" {
		return fmt.Errorf("AWS has no region as in the ARN; did you mean %q?", meant)
	}
	return nil
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// Region returns the region of a secret's ARN, or "" for a name.
func Region(id string) string {
	if part := split(id); len(part) == 7 {
		return part[3]
	}
	return ""
}

// InRegion returns an ARN with another region. The ARN of a replica differs only in the region. If
// id is a name or region is empty, InRegion returns id unchanged.
func InRegion(id, region string) string {
	part := split(id)
	if region == "" || len(part) < 7 {
		return id
	}
	part[3] = region
	return strings.Join(part, ":")
}

// split splits arn:partition:secretsmanager:region:account:secret:name. If the text is not an ARN,
// it may return fewer parts.
func split(arn string) []string { return strings.SplitN(arn, ":", 7) }
