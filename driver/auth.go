package driver

import (
	"errors"
	"fmt"
)

// authIAM is the value of "auth" for tokens of AWS IAM.
const authIAM = "iam"

func setAuth(d *dataSource, v string) error {
	if v != authIAM {
		return errors.New(`it has to be "iam"; leave it out to log in with the secret's password`)
	}
	d.auth = v
	return nil
}

// checkAuth changes the engine's parameters for logins with tokens of AWS IAM.
func (d *dataSource) checkAuth(info *Info) (err error) {
	switch {
	case d.auth == "":
		return nil
	case info.IAM == nil:
		return fmt.Errorf(`parameter "auth": the driver for %s cannot log in with IAM tokens, which exist for PostgreSQL, MySQL and MariaDB on Amazon RDS; for other tokens set Options.Token`, info.Name)
	}
	if d.params, err = info.IAM(d.params); err != nil {
		return fmt.Errorf(`parameter "auth": %w`, err)
	}
	return nil
}

// What the user should check after a rejection: of a password, of a token of Options.Token, of a token
// of AWS IAM.
const (
	checkPassword = "check that the user and the password in the secret match the database"
	checkToken    = "check that the token of Options.Token is for this user, and not expired"
	checkIAM      = "check that the database user may log in by IAM (PostgreSQL: GRANT rds_iam; MySQL and MariaDB: AWSAuthenticationPlugin), " +
		"that the AWS credentials' policy allows rds-db:connect for that user, and that the host is the one that RDS gave the database"
)

// toCheck returns what the user should check after a rejection. s is nil without tokens.
func (s *tokens) toCheck() string {
	if s == nil {
		return checkPassword
	}
	return s.remedy
}

// newTokens returns the tokens of a connector, or nil if it logs in with the secret's password.
func newTokens(d *dataSource, o *Options) (*tokens, error) {
	s := &tokens{make: o.Token, name: "Options.Token", remedy: checkToken, timeout: o.ConnectTimeout, kept: map[tokenKey]*tokenSlot{}}
	switch {
	case d.auth == "" && o.Token == nil:
		return nil, nil
	case d.auth == "":
	case o.Token != nil:
		return nil, badDSN(errors.New(`parameter "auth": Options.Token is set too; use only one of the two`))
	case o.IAMToken == nil:
		return nil, &Error{Op: "make connector", SecretID: d.secretID, Err: errors.New("auth=iam needs Options.IAMToken; use the package engines/<db>, which sets it")}
	default:
		s.make, s.name, s.remedy = o.IAMToken, "Options.IAMToken", checkIAM
	}
	return s, nil
}
