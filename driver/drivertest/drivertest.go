// Package drivertest tests an implementation of [driver.Engine]. It is for authors of engines;
// programs that only connect to a database do not need it.
//
// The test of an engine starts a server that checks passwords, or a stand-in for one, describes it in
// a [Server] and calls [Run]. The example of Run shows the fields. [RunVocabulary] tests which
// parameters and properties the engine supports.
package drivertest

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A Server is a database server for the tests of an engine. The suite creates the users that it logs
// in with. Their names begin with "dt_".
//
// The fields up to SetPassword are required, except Params. All others may be zero.
type Server struct {
	Engine   driver.Engine // the engine to test
	Host     string        // address on this machine's loopback: "127.0.0.1", "::1" or a name for it
	Port     int           // the server's port
	Database string        // a database that exists
	Query    string        // a query whose result has one row and one column: "SELECT 1"
	Params   string        // engine parameters for every data source name: "sslmode=disable"
	ConnType string        // type of the vendor's connections, as %T prints it: "*stdlib.Conn"

	// SetPassword sets the password of a user. If there is no such user, it creates one that may
	// log in to Database.
	SetPassword func(tb testing.TB, user, password string)
	// Logins returns how many logins of a user the server has accepted and rejected since the
	// user was created. Nil skips the checks of these numbers.
	Logins func(tb testing.TB, user string) (accepted, rejected int)

	// Refuse makes the server refuse all further logins of a user with an error that other
	// credentials cannot remedy, such as too many connections or a locked account. Nil skips this
	// check.
	Refuse func(tb testing.TB, user string)

	// TLS describes the server's TLS, and how to ask the engine for TLS. Nil skips the checks of
	// TLS. Test an engine with a server that has TLS, and with one that has none.
	TLS *TLS

	// Refuses reports whether the vendor's driver cannot send a password. The engine must then
	// fail before it logs in. Nil means that it can send all of Passwords.
	Refuses func(password string) bool

	// Source returns a source that gets the secret of a check from upstream, for example an agent
	// that asks upstream, or a file that the secret is written to. Each fetch of the source must
	// cause one fetch of upstream. Nil means upstream itself.
	Source func(tb testing.TB, upstream secretcache.Source) secretcache.Source

	// HostIPv6 is an IPv6 address of the server. Empty skips the check of IPv6.
	HostIPv6 string
	// NoUnknownUser skips the login of a user that does not exist. It is for a server that
	// answers this with another error than a wrong password.
	NoUnknownUser bool
	// NoDatabaseCheck skips the login to a database that does not exist. It is for a server that
	// ignores the name of the database.
	NoDatabaseCheck bool
}

// Passwords are passwords with which protocols, data source names or connection strings have had
// problems.
var Passwords = []string{
	"plain-Password-1",
	" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNO",
	"PQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
	" leading and trailing space ",
	"a b:?#%&;='\"\\/@+{}[] sslmode=disable",
	"';--}{;PWD=other;ENCRYPT=no;",
	"100%25%zz%",
	"pässwörd-€-😀-密码",
}

// Run runs the suite. Each check is a subtest. The suite checks:
//
//   - A login with the secret's password is accepted, for each of [Passwords]. It returns the
//     vendor's connection.
//   - A login with a wrong password or user is [driver.ErrAuthFailed]. It causes one refresh of the
//     secret and no second login with the same version. Its error shows no password, and it leaves no
//     socket open.
//   - After a rotation, the next connection logs in with the new password, after one rejected login.
//   - A database that does not exist, a host that does not exist, and a login that the server refuses
//     for another reason are errors, but not ErrAuthFailed.
//   - If the context of a login ends, the login ends too, with the context's error and without an
//     open socket. This holds for a deadline and for a cancellation, and at whatever step the server
//     stops answering.
//   - The pool keeps a connection. If [driver.Info] has ClosesSuperseded, a superseded connection is
//     closed, and no query fails.
//   - If TLS is asked for, the connection has TLS, verified for the host that is dialled. No login goes
//     out in clear text then, whatever goes wrong. See [TLS].
//   - If [driver.Info] has TurnsTLSOff, a secret whose "ssl" is true asks for TLS without verification.
func Run(t *testing.T, s Server) {
	t.Run("accept", s.accept)
	t.Run("raw connection is the vendor's", s.raw)
	t.Run("rejected password", s.reject)
	if !s.NoUnknownUser {
		t.Run("unknown user", s.unknownUser)
	}
	t.Run("rotation", s.rotate)
	t.Run("awkward passwords", s.passwords)
	t.Run("unknown host", s.unknownHost)
	t.Run("server that falls silent", s.silence)
	t.Run("no socket outlives a rejected login", s.sockets)
	t.Run("pooled connection is kept", s.keeps)
	if s.Engine.Info().ClosesSuperseded {
		t.Run("superseded connection is closed", s.superseded)
		t.Run("superseded connection in use", s.supersededInUse)
	}
	if !s.NoDatabaseCheck {
		t.Run("wrong database", s.wrongDatabase)
	}
	if s.Refuse != nil {
		t.Run("refused for another reason", s.refused)
	}
	if s.HostIPv6 != "" {
		t.Run("IPv6", s.ipv6)
	}
	if s.TLS != nil {
		t.Run("TLS", s.tls)
	}
}

// A client is a database opened with its own secret.
type client struct {
	*sql.DB
	store *store
	user  string
}

// open creates a user with a password and opens the database with a secret of that user. overrides
// change the secret's fields.
func (s Server) open(t *testing.T, password string, params string, overrides map[string]any) *client {
	t.Helper()
	return s.connect(t, s.newUser(t, password), password, params, overrides)
}

// newUser creates a user with a password.
func (s Server) newUser(t *testing.T, password string) (user string) {
	t.Helper()
	user = "dt_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	s.SetPassword(t, user, password)
	return user
}

// connect opens the database with a secret whose user and password need not be right.
func (s Server) connect(t *testing.T, user, password, params string, overrides map[string]any) *client {
	t.Helper()
	return s.connectAs(t, user, password, s.dsn(user, params), nil, overrides)
}

// dsn returns a data source name of the user's secret.
func (s Server) dsn(user, params string) string {
	id := "drivertest/" + user
	if all := strings.Trim(s.Params+"&"+params, "&"); all != "" {
		return id + "?" + all
	}
	return id
}

// connectAs opens a data source name with a TLS configuration, which may be nil.
func (s Server) connectAs(t *testing.T, user, password, dsn string, config *tls.Config, overrides map[string]any) *client {
	t.Helper()
	st := &store{fields: map[string]any{
		"host": s.Host, "port": s.Port, "dbname": s.Database, "username": user, "password": password}}
	for k, v := range overrides {
		st.fields[k] = v
	}
	var source secretcache.Source = st
	if s.Source != nil {
		source = s.Source(t, st)
	}
	cache := secretcache.New(source, nil)
	connector, err := driver.NewConnector(s.Engine, dsn, &driver.Options{Secrets: cache, FallbackStages: []string{}, TLS: config})
	if err != nil {
		t.Fatalf("NewConnector(%q): %v", dsn, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(-1) // every query logs in
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), cache.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &client{db, st, user}
}

// query runs the query. It may take 20 s.
func (s Server) query(t *testing.T, db *client) error {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var v any
	return db.QueryRowContext(ctx, s.Query).Scan(&v)
}

func (s Server) mustQuery(t *testing.T, db *client) {
	t.Helper()
	if err := s.query(t, db); err != nil {
		t.Fatalf("query: %v", err)
	}
}

// wantLogins checks how many logins of db's user the server accepted and rejected.
func (s Server) wantLogins(t *testing.T, db *client, accepted, rejected int) {
	t.Helper()
	if s.Logins == nil {
		return
	}
	if ok, bad := s.Logins(t, db.user); ok != accepted || bad != rejected {
		t.Errorf("server accepted %d logins and rejected %d, want %d and %d", ok, bad, accepted, rejected)
	}
}

// wantRejected checks the error of a rejected login.
func (s Server) wantRejected(t *testing.T, db *client, err error) {
	t.Helper()
	if !errors.Is(err, driver.ErrAuthFailed) {
		t.Fatalf("query = %v, want ErrAuthFailed", err)
	}
	if !s.Engine.Rejected(err) {
		t.Errorf("the server's error is not in the tree of %#v", err)
	}
	db.noPassword(t, err)
}

// noPassword checks that an error does not show a password of the secret, now or earlier.
func (c *client) noPassword(t *testing.T, err error) {
	t.Helper()
	showsNo(t, err, c.store.passwords()...)
}

func showsNo(t *testing.T, err error, passwords ...string) {
	t.Helper()
	for _, p := range passwords {
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(text, p) {
				t.Error("an error shows the password")
			}
		}
	}
}

func (s Server) accept(t *testing.T) {
	db := s.open(t, Passwords[0], "", nil)
	for range 3 {
		s.mustQuery(t, db)
	}
	if got := db.store.fetches(); got != 1 {
		t.Errorf("secret fetched %d times for three connections, want 1", got)
	}
	s.wantLogins(t, db, 3, 0)
}

func (s Server) raw(t *testing.T) {
	db := s.open(t, Passwords[0], "", nil)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(c any) error {
		if got := fmt.Sprintf("%T", c); got != s.ConnType {
			t.Errorf("Raw yields a %s, want %s", got, s.ConnType)
		}
		return nil
	})
	if err != nil {
		t.Errorf("Raw: %v", err)
	}
}

func (s Server) reject(t *testing.T) {
	db := s.open(t, Passwords[0], "", map[string]any{"password": "not-" + Passwords[0]})
	s.wantRejected(t, db, s.query(t, db))
	if got := db.store.fetches(); got != 2 {
		t.Errorf("secret fetched %d times, want 2: the first fetch and one refresh", got)
	}
	s.wantLogins(t, db, 0, 1)
}

func (s Server) unknownUser(t *testing.T) {
	db := s.connect(t, "dt_nobody", "whatever-it-is", "", nil)
	s.wantRejected(t, db, s.query(t, db))
}

func (s Server) rotate(t *testing.T) {
	db := s.open(t, Passwords[0], "", nil)
	s.mustQuery(t, db)
	s.SetPassword(t, db.user, "rotated-Password-2")
	db.store.set("password", "rotated-Password-2")
	for range 3 {
		s.mustQuery(t, db)
	}
	if got := db.store.fetches(); got != 2 {
		t.Errorf("secret fetched %d times, want 2", got)
	}
	s.wantLogins(t, db, 4, 1)
}

func (s Server) passwords(t *testing.T) {
	for i, p := range Passwords {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			db := s.open(t, p, "", nil)
			if s.Refuses != nil && s.Refuses(p) {
				s.wantOther(t, db, s.query(t, db))
				s.wantLogins(t, db, 0, 0)
				return
			}
			if err := s.query(t, db); err != nil {
				t.Errorf("password %q: %v", p, err)
			}
		})
	}
}

func (s Server) wrongDatabase(t *testing.T) {
	db := s.open(t, Passwords[0], "dbname=no_such_database", nil)
	err := s.query(t, db)
	s.wantOther(t, db, err)
	if !s.Engine.NoDatabase(err) {
		t.Errorf("Engine.NoDatabase(%v) = false", err)
	}
}

func (s Server) refused(t *testing.T) {
	db := s.open(t, Passwords[0], "", nil)
	s.Refuse(t, db.user)
	err := s.query(t, db)
	s.wantOther(t, db, err)
	if s.Engine.NoDatabase(err) {
		t.Errorf("Engine.NoDatabase(%v) = true", err)
	}
}

func (s Server) unknownHost(t *testing.T) {
	db := s.connect(t, "dt_nobody", Passwords[0], "host=no-such-host.invalid", nil)
	s.wantOther(t, db, s.query(t, db))
}

// wantOther checks an error that has nothing to do with credentials: it is not ErrAuthFailed, and the
// secret was not read again.
func (s Server) wantOther(t *testing.T, db *client, err error) {
	t.Helper()
	if err == nil || errors.Is(err, driver.ErrAuthFailed) {
		t.Fatalf("query = %v, want an error other than ErrAuthFailed", err)
	}
	db.noPassword(t, err)
	if got := db.store.fetches(); got != 1 {
		t.Errorf("secret fetched %d times, want 1", got)
	}
}

func (s Server) ipv6(t *testing.T) {
	db := s.open(t, Passwords[0], "", map[string]any{"host": s.HostIPv6})
	s.mustQuery(t, db)
}

// sockets counts the connections that stay open after rejected logins.
func (s Server) sockets(t *testing.T) {
	p := s.newProxy(t)
	for range 3 { // each time with a new connector, which has to log in
		db := s.open(t, Passwords[0], "", map[string]any{"port": p.Port, "password": "not-" + Passwords[0]})
		s.wantRejected(t, db, s.query(t, db))
	}
	if dialled := p.Dialled(); dialled < 3 {
		t.Errorf("%d connections were dialled, want at least 3", dialled)
	}
	p.wantOpen(t, 0)
}

// value returns the fields as a secret's JSON.
func value(fields map[string]any) string {
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // the fields are strings and numbers
	}
	return string(b)
}
