package testdb

import (
	"context"
	"crypto/tls"
	"database/sql"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
)

// A standIn is a process that is a part of this program. It runs until it is ended. It is also an
// engine: it has the names of the real one, and methods administer it.
type standIn struct {
	engine
	server interface {
		SetPassword(user, password string) // makes the user if it does not exist
		Drop(user string)
		Sessions(user string) []int64
		Tallies() map[string]accounts.Tally
		Restart() error
	}
	lockUser      func(name string)
	port, tlsPort int
	stop          func() error
}

var _ process = standIn{}

func (s standIn) ports() (port, tlsPort int)    { return s.port, s.tlsPort }
func (s standIn) restart(context.Context) error { return s.server.Restart() }
func (s standIn) problem(context.Context) error { return nil }
func (s standIn) log() string                   { return "(a stand-in has none)" }
func (s standIn) end() error                    { return s.stop() }

func (s standIn) createUser(_ context.Context, _ *sql.DB, name, password string) error {
	s.server.SetPassword(name, password)
	return nil
}

func (s standIn) setPassword(_ context.Context, _ *sql.DB, name, password string) error {
	s.server.SetPassword(name, password)
	return nil
}

func (s standIn) lock(_ context.Context, _ *sql.DB, name string) error {
	s.lockUser(name)
	return nil
}

func (s standIn) dropUser(_ context.Context, _ *sql.DB, name string) error {
	s.server.Drop(name)
	return nil
}

func (s standIn) sessions(_ context.Context, _ *sql.DB, user string) ([]int64, error) {
	return s.server.Sessions(user), nil
}

func (s standIn) logins(context.Context, *sql.DB, string) (map[string]tally, error) {
	tallies := map[string]tally{}
	for user, t := range s.server.Tallies() {
		tallies[user] = tally{t.Accepted, t.Rejected}
	}
	return tallies, nil
}

// config returns the TLS configuration of a server, or nil.
func (p *keyPair) config() (*tls.Config, error) {
	if p == nil {
		return nil, nil
	}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	return &tls.Config{Certificates: []tls.Certificate{cert}}, err
}

func startTDS(pair *keyPair) (process, error) {
	config, err := pair.config()
	if err != nil {
		return nil, err
	}
	port, err := FreePort() // it gets the same port again
	if err != nil {
		return nil, err
	}
	e := sqlserver{}
	s, err := tdsserver.Start(tdsserver.Options{Addr: joinHostPort(port), TLS: config, Databases: []string{e.database()}})
	if err != nil {
		return nil, err
	}
	s.SetPassword(e.admin(), adminPassword)
	lock := func(name string) { s.SetState(name, tdsserver.Disabled) }
	return standIn{engine: e, server: s, lockUser: lock, port: port, tlsPort: port, stop: s.Close}, nil
}

func startTNS(pair *keyPair) (process, error) {
	config, err := pair.config()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	tlsPort := port
	e := oracle{}
	o := &tnsserver.Options{Port: port, Services: []string{e.database()}, TLS: config}
	if config != nil {
		if tlsPort, err = FreePort(); err != nil {
			return nil, err
		}
		o.TCPSPort = tlsPort
	}
	s, err := tnsserver.Start(o)
	if err != nil {
		return nil, err
	}
	s.SetPassword(e.admin(), adminPassword)
	lock := func(name string) { s.Lock(name, true) }
	stop := func() error { s.Close(); return nil }
	return standIn{engine: e, server: s, lockUser: lock, port: port, tlsPort: tlsPort, stop: stop}, nil
}
