// Package rotation is a rotation function for secrets of databases, with the four
// steps that "Rotation by Lambda function" of the AWS Secrets Manager user guide
// describes, for one user or two that alternate. Tests and soaks rotate real
// databases with it as AWS's own functions would.
//
// It talks to Secrets Manager through the SDK's client and to the databases through
// the vendors' drivers. The secret is the JSON of the user guide's "JSON structure
// of Secrets Manager secrets"; the "engine" in it chooses the database: postgres
// or aurora-postgresql, mariadb, mysql or aurora-mysql, sqlserver, oracle.
//
// For SQL Server and Oracle it has no SQL but a query that tests a login: an administrator
// sets the passwords, [Function.SetPassword]. All else is as with the others. It has been
// run against their stand-ins only, never against real ones, for want of them. There
// testdb's SetPassword would send one ALTER LOGIN or ALTER USER.
//
// # Other than AWS's functions
//
// The user and the host are compared before anything logs in with AWSPENDING. Only
// a database that answers can refuse a login: one that cannot be reached fails the
// step at once. A user is cloned completely or cannot log in: in MySQL and MariaDB
// the clone is locked until it has its grants, and one that is found locked gets
// them again. Users of MySQL and MariaDB are those at '%', and what MySQL does not
// have among the grants, such as REQUIRE and limits, is not cloned. In SQL Server and
// Oracle nobody is cloned: the clone has to be there.
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

	// stepTimeout is for the work of one step, without the hooks.
	stepTimeout = 30 * time.Second

	// excluded are the characters that AWS's functions keep out of passwords.
	excluded = `/@"'\`
)

// What is wrong with a rotation. Errors of [Function.Rotate] wrap these where they
// apply.
var (
	// ErrInvalidSecret says that a version's value is not what a rotation needs.
	ErrInvalidSecret = errors.New("invalid secret")
	// ErrRefused says that the database refused a login.
	ErrRefused = errors.New("login refused")
)

// A Strategy is how the user in the database changes.
type Strategy int

const (
	// SingleUser changes the password of the secret's user, which does it itself.
	SingleUser Strategy = iota
	// AlternatingUsers switches between the user and its clone, whose name ends in
	// _clone, in Oracle in _CLONE. A superuser sets the password of the one that is not current.
	AlternatingUsers
)

// String returns the name of the strategy in the user guide.
func (s Strategy) String() string {
	switch s {
	case SingleUser:
		return "single user"
	case AlternatingUsers:
		return "alternating users"
	}
	return fmt.Sprintf("Strategy(%d)", int(s))
}

// A Function is a rotation function for any number of secrets. Its Rotate may be
// called from several goroutines at once, but not for one secret; the fields are not
// to be changed then.
type Function struct {
	// Client talks to the Secrets Manager. Required.
	Client *secretsmanager.Client

	// Strategy is SingleUser if it is not set.
	Strategy Strategy

	// Superuser is the id of the secret with which alternating users are changed.
	// Empty means the one that "masterarn" of AWSCURRENT names.
	Superuser string

	// TLS is for all connections; without a ServerName, that of the secret's host.
	// Nil means plaintext.
	TLS *tls.Config

	// SetPassword sets a user's password, as an administrator. SQL Server and Oracle
	// need it; the other databases are told in SQL. What its error says is not shown,
	// but for the code of the database's answer.
	SetPassword func(ctx context.Context, user, password string) error

	// Before and After are called around each step with its event, and fail it by an
	// error: before its effect, or although it succeeded. After is not called for a
	// step that failed. Nil does nothing.
	Before, After awssmtest.RotationFunc
}

var _ awssmtest.RotationFunc = (*Function)(nil).Rotate

// Rotate does one step. Each may be repeated, and does nothing if its version is
// AWSCURRENT already. It takes 5 s at most for a login and 30 s in all, without the
// hooks, if ctx does not end before.
//
// An error names the step and the secret. It holds nothing of a secret's value, and
// of a database's answer only the code, because its text may quote names and
// statements. An ended context can be matched.
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

// A request is a step's event, and what DescribeSecret said.
type request struct {
	id, token string
	current   string // the version that is AWSCURRENT, or empty
}

// run does a step, if there is something to do.
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
		return err // nil: an earlier attempt came this far
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
		return nil // an earlier attempt came this far
	}
	if !errors.Is(err, ErrRefused) {
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
	if errors.Is(err, ErrRefused) {
		// The database may be a version behind, of a backup for example.
		s, err = f.loginPrevious(ctx, r, err)
	}
	if err != nil {
		return err
	}
	defer s.close()
	return s.setOwn(ctx, pending.username, pending.password())
}

// loginPrevious logs in with AWSPREVIOUS, if there is one, because AWSCURRENT was
// refused.
func (f *Function) loginPrevious(ctx context.Context, r *request, refused error) (*session, error) {
	previous, err := f.value(ctx, r.id, stagePrevious, "")
	if isNoValue(err) {
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w", refused, err)
	}
	s, err := f.login(ctx, stagePrevious, previous)
	if err != nil {
		return nil, fmt.Errorf("%w; %w", refused, err)
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
	super.database = current.database // the superuser's own may be none
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

// finishSecret moves AWSCURRENT to the version. That the one that had it becomes
// AWSPREVIOUS is the service's doing.
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

// value reads a version by its stage; it also has to be the given one, unless that
// is empty.
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
