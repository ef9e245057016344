// Package secretid has the rule for the id of a secret: a name or an ARN.
package secretid

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The longest name and id, in characters, by the Secrets Manager API reference:
// CreateSecret's Name and GetSecretValue's SecretId.
const (
	maxName = 512
	maxID   = 2048
)

// Check checks the id of a secret. Its errors do not quote it: somebody will pass
// postgres://user:password@host.
func Check(id string) error {
	arn := strings.HasPrefix(id, "arn:")
	lower := strings.ToLower(id)
	switch {
	case id == "":
		return errors.New("it has no secret id")
	case arn && len(id) > maxID, !arn && len(id) > maxName:
		return fmt.Errorf("the secret id is longer than %d characters (an ARN: %d)", maxName, maxID)
	case strings.Contains(id, "://"):
		return errors.New("it is a database's URL; give the name or ARN of a secret that holds the credentials")
	case strings.Contains(lower, "password=") || strings.Contains(lower, "pwd="):
		return errors.New("it is a database's connection string; give the name or ARN of a secret that holds the credentials")
	case strings.ContainsFunc(id, func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune("/_+=.@-!", r) && (r != ':' || !arn) }):
		return errors.New(`the secret id has a character that none has; it is a name of letters, digits and "/_+=.@-!", or an ARN`)
	}
	if part := split(id); arn && (len(part) < 7 || part[2] != "secretsmanager" || part[5] != "secret" || slices.Contains(part, "")) {
		return errors.New("the ARN is not a secret's; one is arn:aws:secretsmanager:<region>:<account>:secret:<name>")
	}
	return nil
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// InRegion returns an ARN with another region: the replica there differs from it in nothing
// else. It returns a name, or an ARN if region is empty, as it is.
func InRegion(id, region string) string {
	if region == "" || !strings.HasPrefix(id, "arn:") {
		return id
	}
	part := split(id)
	part[3] = region
	return strings.Join(part, ":")
}

// split splits arn:partition:secretsmanager:region:account:secret:name.
func split(arn string) []string { return strings.SplitN(arn, ":", 7) }
