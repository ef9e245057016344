// Package rotation is a rotation function for secrets of databases. It has the four steps
// that "Rotation by Lambda function" of the AWS Secrets Manager user guide describes, for a
// single user or for alternating users. Tests and soaks rotate real databases with it, as
// AWS's own functions would.
//
// It uses the SDK's client for Secrets Manager, and the vendors' drivers for the databases.
// The secret has the form of the user guide's "JSON structure of Secrets Manager secrets". Its
// "engine" chooses the database: postgres or aurora-postgresql, mariadb, mysql or
// aurora-mysql, sqlserver, oracle.
//
// For SQL Server and Oracle the only SQL is a query that tests a login. An administrator sets
// the passwords with [Function.SetPassword]. Everything else is the same as for the other
// databases. These two were run against stand-ins only, because no real server was available.
// For a real server, SetPassword of testdb would send one ALTER LOGIN or ALTER USER.
//
// # Differences from AWS's functions
//
//   - The user and the host are compared before the first login with AWSPENDING.
//   - Only an answer of the database counts as a rejected login. If the database cannot be
//     reached, the step fails at once.
//   - A clone of a user is complete or cannot log in. In MySQL and MariaDB the clone is locked
//     until it has its grants, and a clone that is found locked gets them again.
//   - Users of MySQL and MariaDB are those at '%'. What MySQL does not list among the grants,
//     such as REQUIRE and limits, is not cloned.
//   - In SQL Server and Oracle no user is cloned: the clone has to exist.
package rotation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const (
	stageCurrent  = "AWSCURRENT"
	stagePending  = "AWSPENDING"
	stagePrevious = "AWSPREVIOUS"

	// stepTimeout is the limit of the work of one step, without the hooks.
	stepTimeout = 30 * time.Second

	// excluded are the characters that AWS's functions do not use in passwords.
	excluded = `/@"'\`
)

// Errors of [Function.Rotate] wrap these where they apply.
var (
	// ErrInvalidSecret says that a rotation cannot use the value of a version.
	ErrInvalidSecret = errors.New("invalid secret")
	// ErrRejected says that the database rejected a login.
	ErrRejected = errors.New("login rejected")
)

// A Strategy says how the user in the database changes.
type Strategy int

const (
	// SingleUser changes the password of the secret's user. The user changes it itself.
	SingleUser Strategy = iota
	// AlternatingUsers switches between the user and its clone, whose name ends in _clone, with
	// Oracle in _CLONE. A superuser sets the password of the user that is not current.
	AlternatingUsers
)

// String returns the name of the strategy in the AWS user guide.
func (s Strategy) String() string {
	switch s {
	case SingleUser:
		return "single user"
	case AlternatingUsers:
		return "alternating users"
	}
	return fmt.Sprintf("Strategy(%d)", int(s))
}

// A Function is a rotation function for any number of secrets. Several goroutines may call Rotate
// at the same time, but not for the same secret. Do not change the fields in that time.
type Function struct {
	// Client talks to the Secrets Manager. Required.
	Client *secretsmanager.Client

	// Strategy is SingleUser by default.
	Strategy Strategy

	// Superuser is the id of the secret whose user changes alternating users. If it is empty,
	// "masterarn" of AWSCURRENT names that secret.
	Superuser string

	// TLS is the configuration of all connections. If its ServerName is empty, the host of the
	// secret is used. Nil means plaintext.
	TLS *tls.Config

	// SetPassword sets a user's password as an administrator. SQL Server and Oracle need it; the
	// other databases use SQL. The text of its error is not shown, except the code of the
	// database's answer.
	SetPassword func(ctx context.Context, user, password string) error

	// Before and After are called around each step with its event. An error from Before fails the
	// step before its effect, and an error from After fails a step that succeeded. After is not
	// called for a step that failed. Nil does nothing.
	Before, After awssmtest.RotationFunc
}

var _ awssmtest.RotationFunc = (*Function)(nil).Rotate

// Rotate does one step. Each step may be repeated, and does nothing if its version is AWSCURRENT
// already. It takes at most 5 s for a login and 30 s in total, without the hooks, or less if ctx
// ends before.
//
// An error names the step and the secret. It contains no value of a secret. Of a database's answer
// it contains only the code, because the text may quote names and statements. The error matches the
// error of a context that has ended.
func (f *Function) Rotate(ctx context.Context, e awssmtest.RotationEvent) error {
	if err := f.rotate(ctx, e); err != nil {
		return fmt.Errorf("%s of %q: %w", e.Step, e.SecretID, err)
	}
	return nil
}

func (f *Function) rotate(ctx context.Context, e awssmtest.RotationEvent) error {
	var step func(*Function, context.Context, *request) error
	switch e.Step {
	case awssmtest.CreateSecret:
		step = (*Function).createSecret
	case awssmtest.SetSecret:
		step = (*Function).setSecret
	case awssmtest.TestSecret:
		step = (*Function).testSecret
	case awssmtest.FinishSecret:
		step = (*Function).finishSecret
	default:
		return errors.New("there is no such step")
	}
	if f.Before != nil {
		if err := f.Before(ctx, e); err != nil {
			return err
		}
	}
	if err := f.run(ctx, e, step); err != nil {
		return err
	}
	if f.After != nil {
		return f.After(ctx, e)
	}
	return nil
}

// A request is the event of a step and the answer of DescribeSecret.
type request struct {
	id, token string
	current   string // the version that is AWSCURRENT, or empty
}

// run does a step, unless there is nothing to do.
func (f *Function) run(ctx context.Context, e awssmtest.RotationEvent, step func(*Function, context.Context, *request) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	out, err := f.Client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &e.SecretID})
	if err != nil {
		return fmt.Errorf("DescribeSecret: %w", err)
	}
	r := &request{id: e.SecretID, token: e.ClientRequestToken}
	for id, stages := range out.VersionIdsToStages {
		if slices.Contains(stages, stageCurrent) {
			r.current = id
		}
	}
	switch {
	case r.current == r.token:
		return nil
	case !slices.Contains(out.VersionIdsToStages[r.token], stagePending):
		return errors.New("the token's version is not AWSPENDING")
	}
	return step(f, ctx, r)
}

// createSecret stores a value with a new password as AWSPENDING.
func (f *Function) createSecret(ctx context.Context, r *request) error {
	current, err := f.value(ctx, r.id, stageCurrent, "")
	if err != nil {
		return err
	}
	_, err = f.value(ctx, r.id, stagePending, r.token)
	if !isNoValue(err) {
		return err // nil: an earlier attempt has done this
	}
	user := current.username
	if f.Strategy == AlternatingUsers {
		user = current.engine.alternate(user)
	}
	random, err := f.Client.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{ExcludeCharacters: aws.String(excluded)})
	if err != nil {
		return fmt.Errorf("GetRandomPassword: %w", err)
	}
	text, err := current.with(user, aws.ToString(random.RandomPassword))
	if err != nil {
		return err
	}
	_, err = f.Client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &r.id, ClientRequestToken: &r.token, SecretString: &text, VersionStages: []string{stagePending},
	})
	if err != nil {
		return fmt.Errorf("PutSecretValue: %w", err)
	}
	return nil
}

// setSecret makes the database accept AWSPENDING.
func (f *Function) setSecret(ctx context.Context, r *request) error {
	current, err := f.value(ctx, r.id, stageCurrent, "")
	if err != nil {
		return err
	}
	pending, err := f.value(ctx, r.id, stagePending, r.token)
	if err != nil {
		return err
	}
	s, err := f.login(ctx, stagePending, pending)
	if err == nil {
		s.close()
		return nil // an earlier attempt has done this
	}
	if !errors.Is(err, ErrRejected) {
		return err
	}
	if f.Strategy == AlternatingUsers {
		return f.setOther(ctx, current, pending)
	}
	return f.setOwn(ctx, r, current, pending)
}

// setOwn lets the user change its own password.
func (f *Function) setOwn(ctx context.Context, r *request, current, pending *value) error {
	s, err := f.login(ctx, stageCurrent, current)
	if errors.Is(err, ErrRejected) {
		// The database may be one version behind, for example after a restore.
		s, err = f.loginPrevious(ctx, r, err)
	}
	if err != nil {
		return err
	}
	defer s.close()
	return s.setOwn(ctx, pending.username, pending.password())
}

// loginPrevious logs in with AWSPREVIOUS, if there is one, because AWSCURRENT was rejected.
func (f *Function) loginPrevious(ctx context.Context, r *request, rejected error) (*session, error) {
	previous, err := f.value(ctx, r.id, stagePrevious, "")
	if isNoValue(err) {
		return nil, rejected
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w", rejected, err)
	}
	s, err := f.login(ctx, stagePrevious, previous)
	if err != nil {
		return nil, fmt.Errorf("%w; %w", rejected, err)
	}
	return s, nil
}

// setOther lets the superuser clone the current user, or change its clone's password.
func (f *Function) setOther(ctx context.Context, current, pending *value) error {
	s, err := f.login(ctx, stageCurrent, current)
	if err != nil {
		return err
	}
	s.close()

	id := f.Superuser
	if id == "" {
		id = current.superuser
	}
	if id == "" {
		return fmt.Errorf("%w: %s names no superuser's secret in \"masterarn\"", ErrInvalidSecret, stageCurrent)
	}
	super, err := f.value(ctx, id, stageCurrent, "")
	if err != nil {
		return fmt.Errorf("superuser: %w", err)
	}
	super.database = current.database // the superuser's secret may have none
	if s, err = f.login(ctx, "superuser", super); err != nil {
		return err
	}
	defer s.close()
	return s.setOther(ctx, pending.username, pending.password(), current.username)
}

// testSecret logs in with AWSPENDING and reads something.
func (f *Function) testSecret(ctx context.Context, r *request) error {
	pending, err := f.value(ctx, r.id, stagePending, r.token)
	if err != nil {
		return err
	}
	s, err := f.login(ctx, stagePending, pending)
	if err != nil {
		return err
	}
	defer s.close()
	return s.query(ctx)
}

// finishSecret moves AWSCURRENT to the version. The service moves AWSPREVIOUS to the former
// version.
func (f *Function) finishSecret(ctx context.Context, r *request) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &r.id, VersionStage: aws.String(stageCurrent), MoveToVersionId: &r.token,
	}
	if r.current != "" {
		in.RemoveFromVersionId = &r.current
	}
	if _, err := f.Client.UpdateSecretVersionStage(ctx, in); err != nil {
		return fmt.Errorf("UpdateSecretVersionStage: %w", err)
	}
	return nil
}

// value reads a version by its stage. If a version id is given, it has to be that version.
func (f *Function) value(ctx context.Context, id, stage, version string) (*value, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &id, VersionStage: &stage}
	if version != "" {
		in.VersionId = &version
	}
	out, err := f.Client.GetSecretValue(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("GetSecretValue of %s: %w", stage, err)
	}
	v, err := parse(aws.ToString(out.SecretString))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalidSecret, stage, err)
	}
	return v, nil
}

// isNoValue reports whether a version does not exist or has no value yet.
func isNoValue(err error) bool { return errors.As(err, new(*types.ResourceNotFoundException)) }
