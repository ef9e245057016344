package all_test

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A fakeEngine takes the secret's user and password at its word, and a parameter with its
// own name. A secret whose user is "bad" is rejected.
type fakeEngine struct {
	name   string
	logins *logins
}

type logins struct {
	mu   sync.Mutex
	seen []string // "engine user"
}

func (l *logins) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, s)
}

func (l *logins) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.seen, ", ")
}

var errRejected = errors.New("rejected")

func (e fakeEngine) Info() driver.Info {
	return driver.Info{Name: e.name, Schemes: []string{e.name + "ql"}, Port: 1,
		Accepts: func(s string) bool { return s == e.name || s == "aurora-"+e.name }}
}

func (e fakeEngine) ParseURL(url string, _ func(string) bool) (driver.URL, error) {
	_, id, _ := strings.Cut(url, "user=")
	return driver.URL{SecretID: id}, nil
}

func (e fakeEngine) CheckParams(params map[string]string) error {
	for name := range params {
		if name != e.name {
			return fmt.Errorf("parameter %q is not known", name)
		}
	}
	return nil
}

func (e fakeEngine) Prepare(driver.Endpoint) (driver.Login, error) { return fakeLogin{e}, nil }
func (e fakeEngine) Rejected(err error) bool                       { return errors.Is(err, errRejected) }
func (e fakeEngine) NoDatabase(error) bool                         { return false }

type fakeLogin struct{ fakeEngine }

func (l fakeLogin) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	l.logins.add(l.name + " " + c.User)
	if c.User == "bad" {
		return nil, errRejected
	}
	return &fakeConn{engine: l.name}, nil
}

type fakeConn struct {
	sqldriver.Conn
	engine string
}

func (*fakeConn) Close() error { return nil }

// A store is a Source with one secret, which hangs or fails at a test's word.
type store struct {
	mu     sync.Mutex
	value  string
	number int
	err    error
	hang   bool
	count  int
}

func (s *store) put(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = value
	s.number++
}

func (s *store) fail(err error, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.hang = err, hang
}

func (s *store) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *store) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s.mu.Lock()
	s.count++
	hang, err := s.hang, s.err
	v := secretcache.Value{ID: id, Name: id, VersionID: fmt.Sprintf("v%d", s.number), Stages: []string{stage}, String: s.value}
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return secretcache.NewSecret(v), nil
}
