package testdb

import (
	"context"
	"crypto/tls"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
)

// A standIn is a process that is a part of this one. It runs until it is ended.
type standIn struct {
	port, tlsPort int
	again         func() error
	stop          func() error
}

var _ process = standIn{}

func (s standIn) ports() (port, tlsPort int)    { return s.port, s.tlsPort }
func (s standIn) restart(context.Context) error { return s.again() }
func (s standIn) problem(context.Context) error { return nil }
func (s standIn) log() string                   { return "(a stand-in has none)" }
func (s standIn) end() error                    { return s.stop() }

// config returns what a server needs for TLS, or nil.
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
	port, err := FreePort() // one that it gets again
	if err != nil {
		return nil, err
	}
	e := sqlserver{}
	s, err := tdsserver.Start(tdsserver.Options{Addr: joinHostPort(port), TLS: config, Databases: []string{e.database()}})
	if err != nil {
		return nil, err
	}
	s.SetPassword(e.admin(), adminPassword)
	s.Promote(e.admin())
	return standIn{port, port, s.Restart, s.Close}, nil
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
	s.Promote(e.admin())
	return standIn{port, tlsPort, s.Restart, func() error { s.Close(); return nil }}, nil
}
