package rotation

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
)

// loginTimeout is the limit of one login, as in AWS's functions.
const loginTimeout = 5 * time.Second

// An engine is what a rotation needs to know about a kind of database.
type engine struct {
	port          int    // if the secret has none
	database      string // the same; may be empty
	needsDatabase bool
	query         string // something that any user may read, a number

	// alternate returns the name of the other of two users.
	alternate func(user string) string

	// connector does not connect. The TLS configuration is nil for plaintext.
	connector func(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error)

	// setOwn changes the password of the user that is logged in. If it is nil, Function.SetPassword
	// does it.
	setOwn func(ctx context.Context, c *sql.Conn, user, password string) error

	// setOther sets the password of a user. If the user does not exist, setOther creates it with
	// the grants of the user that it is like. If setOther fails, the user is complete or cannot log
	// in with the password. It is nil if setOwn is nil.
	setOther func(ctx context.Context, c *sql.Conn, user, password, like string) error

	// code returns the code of an error that the server sent, and nothing for other errors.
	code func(err error) string
}

// engines has the engines by "engine" of a secret.
var engines = map[string]*engine{
	"postgres":          &postgres,
	"aurora-postgresql": &postgres,
	"mariadb":           &mariadb,
	"mysql":             &mysql,
	"aurora-mysql":      &mysql,
	"sqlserver":         &sqlserver,
	"oracle":            &oracle,
}

// withSuffix returns an alternate func for an engine: a name with the suffix is the name of a
// clone.
func withSuffix(suffix string) func(user string) string {
	return func(user string) string {
		other, isClone := strings.CutSuffix(user, suffix)
		if !isClone {
			other = user + suffix
		}
		return other
	}
}

// A session is a connection to a database.
type session struct {
	engine *engine
	byHand func(ctx context.Context, user, password string) error // Function.SetPassword
	db     *sql.DB
	conn   *sql.Conn
}

// login logs in with a value. Errors use who as the name of the value. If the server rejects the
// login, the error is ErrRejected.
func (f *Function) login(ctx context.Context, who string, v *value) (*session, error) {
	tlsConfig := f.TLS
	if tlsConfig != nil {
		tlsConfig = tlsConfig.Clone()
		if tlsConfig.ServerName == "" {
			tlsConfig.ServerName = v.host
		}
	}
	connector, err := v.engine.connector(v, tlsConfig)
	if err != nil {
		return nil, fmt.Errorf("log in with %s: %w: %w", who, ErrInvalidSecret, err)
	}
	loginCtx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	s := &session{engine: v.engine, byHand: f.SetPassword, db: sql.OpenDB(connector)}
	if s.conn, err = s.db.Conn(loginCtx); err == nil {
		return s, nil
	}
	_ = s.db.Close() // it has no connections
	if code := v.engine.code(err); code != "" {
		return nil, fmt.Errorf("log in with %s: %w: %s", who, ErrRejected, code)
	}
	if loginCtx.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("log in with %s: no answer within %v", who, loginTimeout)
	}
	return nil, fmt.Errorf("log in with %s: %w", who, err)
}

func (s *session) close() {
	_ = s.conn.Close() // the work is done
	_ = s.db.Close()
}

func (s *session) query(ctx context.Context) error {
	var one int
	return s.clean("query", s.conn.QueryRowContext(ctx, s.engine.query).Scan(&one))
}

func (s *session) setOwn(ctx context.Context, user, password string) error {
	if s.engine.setOwn == nil {
		return s.setByHand(ctx, user, password)
	}
	return s.clean("change the user's password", s.engine.setOwn(ctx, s.conn, user, password))
}

func (s *session) setOther(ctx context.Context, user, password, like string) error {
	if s.engine.setOther == nil {
		return s.setByHand(ctx, user, password)
	}
	return s.clean("set the other user's password", s.engine.setOther(ctx, s.conn, user, password, like))
}

func (s *session) setByHand(ctx context.Context, user, password string) error {
	if s.byHand == nil {
		return errors.New("nobody sets passwords of this engine: Function.SetPassword is nil")
	}
	return s.clean("set the user's password", s.byHand(ctx, user, password))
}

// clean returns the error of a failed statement. If the server answered, the error has only its
// code.
func (s *session) clean(what string, err error) error {
	if err == nil {
		return nil
	}
	if code := s.engine.code(err); code != "" {
		return fmt.Errorf("%s: the server answers %s", what, code)
	}
	return fmt.Errorf("%s: %w", what, err)
}
