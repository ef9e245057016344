// Package logintest logs in with an engine as a Connector does, for the tests of the engines.
package logintest

import (
	"context"
	"crypto/x509"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
)

// Connect prepares a login and connects, with a generous timeout.
func Connect(tb testing.TB, e driver.Engine, ep driver.Endpoint, user, password string) (sqldriver.Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return ConnectContext(ctx, tb, e, ep, user, password)
}

// ConnectContext prepares a login and connects.
func ConnectContext(ctx context.Context, tb testing.TB, e driver.Engine, ep driver.Endpoint, user, password string) (sqldriver.Conn, error) {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: user, Password: driver.NewPassword(password)})
	if (err == nil) != (c != nil) {
		tb.Errorf("Connect returned a connection %T and the error %v", c, err)
	}
	return c, err
}

// A Connector is the connector of a pool. A test says when its connections are superseded.
type Connector struct {
	Login       driver.Login
	Credentials driver.Credentials
}

func (c Connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	return c.Login.Connect(ctx, c.Credentials)
}

// Driver is not called.
func (Connector) Driver() sqldriver.Driver { return nil }

// NewConnector returns a Connector for logins at an endpoint. superseded may be nil.
func NewConnector(tb testing.TB, e driver.Engine, ep driver.Endpoint, user, password string, superseded func() bool) Connector {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatal(err)
	}
	return Connector{l, driver.Credentials{User: user, Password: driver.NewPassword(password), Superseded: superseded}}
}

// NotSuperseded is a superseded func for connections that are never superseded.
func NotSuperseded() bool { return false }

// ClosesSuperseded checks that a pool keeps a connection until it is superseded, and then closes it
// without a failed query. open opens the pool. logins returns how many logins the server has seen.
func ClosesSuperseded(t *testing.T, open func(superseded func() bool) Connector, query string, logins func() int) {
	t.Helper()
	var superseded atomic.Bool
	db := sql.OpenDB(open(superseded.Load))
	defer db.Close()
	for _, step := range []struct {
		superseded      bool
		queries, logins int
	}{{false, 3, 1}, {true, 1, 2}, {false, 3, 2}, {true, 1, 3}} {
		superseded.Store(step.superseded)
		for range step.queries {
			var v string
			if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
				t.Fatal(err)
			}
		}
		if got := logins(); got != step.logins {
			t.Errorf("the server saw %d logins, want %d", got, step.logins)
		}
	}
}

// EveryCharacter has each character up to U+017F except NUL, and some characters of three and four
// bytes in UTF-8.
func EveryCharacter() []rune {
	var all []rune
	for r := rune(1); r < 0x180; r++ {
		all = append(all, r)
	}
	return append(all, []rune("€😀密\U0010FFFF")...)
}

// A Dial is a func that dials, as the vendors' drivers take it.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// DialTo returns a Dial that always dials one address.
func DialTo(address string) Dial {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// ContextErrorIsReachable checks that the error of Connect has the error of the context in its
// tree, even if a dialer hides it. with returns the engine with that dialer.
func ContextErrorIsReachable(t *testing.T, ep driver.Endpoint, with func(Dial) driver.Engine) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := with(func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return nil, errors.New("the tunnel is closed")
	})
	_, err := ConnectContext(ctx, t, e, ep, "app_user", "p")
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the tunnel is closed") {
		t.Errorf("Connect = %v, want both errors", err)
	}
}

// NoPassword checks that an error shows no password: not in its texts, and not in any value that
// can be reached from it. No value may be a driver.Password, or have one of types, which are the
// configurations of vendors.
func NoPassword(t *testing.T, err error, password string, types ...reflect.Type) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if strings.Contains(fmt.Sprintf(verb, err), password) {
			t.Errorf("%s of the error shows the password", verb)
		}
	}
	types = append(types, reflect.TypeFor[driver.Password]())
	leak.Walk(err, func(path string, v reflect.Value) {
		if v.Kind() == reflect.String && strings.Contains(v.String(), password) {
			t.Errorf("the password is in %s", path)
		}
		if slices.Contains(types, v.Type()) {
			t.Errorf("%s is a %v", path, v.Type())
		}
	})
}

// An Outcome describes the expected result of a login, with or without TLS.
type Outcome struct {
	Want   string        // a part of what Seen returns or of the error; with "|", at least one of several parts
	Logins func() int    // returns how many logins the server saw: a login that fails must not reach the server
	Seen   func() string // describes a login that the server accepted, such as "tls"
	// Opaque says that the vendor's driver keeps no error of crypto/tls in the tree. If it is
	// false, the error for a certificate with another name must be an x509.HostnameError.
	Opaque bool
}

// Check logs in at an endpoint and checks the result.
func (o Outcome) Check(t *testing.T, e driver.Engine, ep driver.Endpoint, password string) {
	t.Helper()
	conn, err := Connect(t, e, ep, "app_user", password)
	got := ""
	if err == nil {
		_ = conn.Close()
		got = o.Seen()
	} else {
		got = err.Error()
		if n := o.Logins(); n != 0 {
			t.Errorf("the server saw %d logins before %v", n, err)
		}
	}
	if !slices.ContainsFunc(strings.Split(o.Want, "|"), func(part string) bool { return strings.Contains(got, part) }) {
		t.Errorf("got %q, want %q", got, o.Want)
	}
	if name := (x509.HostnameError{}); !o.Opaque && strings.Contains(o.Want, "not other.test") && !errors.As(err, &name) {
		t.Errorf("no %T in the tree of %v", name, err)
	}
}

// ConnectTwice prepares a login once and connects twice, as a pool does.
func ConnectTwice(t *testing.T, e driver.Engine, ep driver.Endpoint, user, password string) {
	t.Helper()
	c := NewConnector(t, e, ep, user, password, nil)
	for range 2 {
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
}

// Fails connects and checks that the error has a text and, if as is not nil, an error of that type
// in its tree.
func Fails(t *testing.T, e driver.Engine, ep driver.Endpoint, password, text string, as any) error {
	t.Helper()
	_, err := Connect(t, e, ep, "app_user", password)
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("Connect = %v, want an error with %q", err, text)
	}
	if as != nil && !errors.As(err, as) {
		t.Errorf("no %T in the tree of %v", as, err)
	}
	return err
}

// Verdict checks whether an engine treats an error as a rejection, and as a database that does not
// exist. It tries the error itself, wrapped, and joined with another error.
func Verdict(t *testing.T, e driver.Engine, err error, rejected, noDatabase bool) {
	t.Helper()
	forms := []error{err}
	if err != nil {
		forms = append(forms, fmt.Errorf("wrapped: %w", err), errors.Join(net.ErrClosed, err))
	}
	for _, form := range forms {
		if e.Rejected(form) != rejected || e.NoDatabase(form) != noDatabase {
			t.Errorf("%v in a %T: Rejected = %t, NoDatabase = %t, want %t and %t", err, form, e.Rejected(form), e.NoDatabase(form), rejected, noDatabase)
		}
	}
}
