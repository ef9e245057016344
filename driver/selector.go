package driver

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A Selector tells the engine of a data source name, for a driver that has several
// (package engines/all). It may be used from several goroutines at once.
type Selector struct {
	dsn    string
	scheme string      // of a JDBC URL; then source is empty
	source *dataSource // of any other
	o      Options

	secrets *openedSecrets
	read    atomic.Pointer[engineOf] // the secret that was read last
}

type engineOf struct {
	secret *secretcache.Secret
	name   string
	err    error
}

// NewSelector checks what a data source name has in common for all engines. Errors
// are as [NewConnector]'s; the engine's parameters are checked by Connector.
func NewSelector(dsn string, opts *Options) (*Selector, error) {
	s := &Selector{dsn: dsn, source: newDataSource(), o: opts.clone()}
	s.secrets = &openedSecrets{options: &s.o, source: s.source}
	if err := s.o.checkSecrets(); err != nil {
		return nil, err
	}
	if dsn == "" {
		return s, nil // for Engine to refuse
	}
	if rest, ok := strings.CutPrefix(dsn, jdbcPrefix); ok {
		s.scheme, _, ok = strings.Cut(rest, ":")
		if !ok || !isKey(s.scheme) || s.scheme == "" {
			return nil, badDSN(fmt.Errorf("no database's name and colon follow %q", jdbcPrefix))
		}
		return s, nil
	}
	if err := s.source.parseBare(dsn); err != nil {
		return nil, badDSN(err)
	}
	s.source.moveToRegion()
	if err := s.o.checkLocation(s.source.location); err != nil {
		return nil, err
	}
	return s, nil
}

// Scheme returns the scheme of a JDBC URL, as "postgresql". It is empty where there is
// none; then Engine tells.
func (s *Selector) Scheme() string { return s.scheme }

// SecretID returns the secret's id, where the data source name is no JDBC URL.
func (s *Selector) SecretID() string { return s.source.secretID }

// Fixed reports whether the data source name itself says the engine, by the scheme of
// its URL or the key "engine", and Engine needs no secret.
func (s *Selector) Fixed() bool { return s.scheme != "" || s.source.engine != "" }

// Engine returns the name of the engine in lower case, as [Info.Accepts] takes it: of
// the key "engine", or of the version that the secret's stage names now. The secret
// comes from the cache if that has it, and if it is to blame for an error, the cache is
// asked whether it has changed. It ends when ctx does; it is not bounded by
// Options.ConnectTimeout.
func (s *Selector) Engine(ctx context.Context) (string, error) {
	switch {
	case s.dsn == "":
		return "", badDSN(errEmpty)
	case s.source.engine != "":
		return strings.ToLower(s.source.engine), nil
	}
	secrets, err := s.secrets.open(ctx)
	if err != nil {
		return "", newError("open secrets for", s.source.secretID, "", err)
	}
	current, err := secrets.Get(ctx, s.source.secretID, s.source.stage)
	if err != nil {
		return "", newError("get secret", s.source.secretID, "", err)
	}
	name, err := s.engineOf(current)
	if err == nil {
		return name, nil
	}
	if r, ok := secrets.(rechecker); ok {
		if newer, lookErr := r.Recheck(ctx, s.source.secretID, s.source.stage, current); lookErr == nil && newer != nil && newer != current {
			return s.engineOf(newer)
		}
	}
	return "", err
}

// engineOf reads a version, once.
func (s *Selector) engineOf(secret *secretcache.Secret) (string, error) {
	if e := s.read.Load(); e != nil && e.secret == secret {
		return e.name, e.err
	}
	e := &engineOf{secret: secret}
	j := decodeSecret(secret)
	if e.name = strings.ToLower(j.text("engine")); e.name == "" {
		j.fail(`key "engine" is missing; secrets that RDS or Redshift manages have none: give "engine" in the data source name`)
	}
	if j.err != nil {
		e.err = newError("read secret", s.source.secretID, secret.VersionID(), malformed(j.err))
	}
	s.read.Store(e)
	return e.name, e.err
}

// Connector returns a connector of engine for the data source name, which shares the
// secrets that the Selector has opened. Errors are as [NewConnector]'s.
func (s *Selector) Connector(engine Engine) (*Connector, error) {
	c, err := NewConnector(engine, s.dsn, &s.o)
	if err == nil && s.scheme == "" { // of a URL, only the engine knows the location
		c.reader.secrets = s.secrets
	}
	return c, err
}
