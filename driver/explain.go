package driver

import (
	"maps"
	"slices"
	"strconv"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An Explanation says where a connector gets a secret, and where each field of a login comes
// from: for tools that answer why a program does not connect. It holds no value of the secret
// but host, port and database.
type Explanation struct {
	SecretID       string
	Stage          string
	FallbackStages []string // in their order; empty is none
	Location       Location
	// Engine is empty while only the secret can tell. So is what follows.
	Engine string
	// IAM says that a login sends a token in place of the password.
	IAM bool
	// Params are the data source name's parameters for the engine, in its vendor's spelling.
	// Not all of them are fit to be shown: one may be the passphrase of a key.
	Params map[string]string
	// Keys are the names of the keys in the secret's JSON, sorted. They and Fields are empty
	// without a secret.
	Keys   []string
	Fields []Field
	// Encrypt says that the secret's "ssl" asks for TLS, and TLSOff that the data source name
	// turns TLS off, which takes precedence.
	Encrypt, TLSOff bool
	Address         string // as in LoginInfo
}

// A Field is a part of a login.
type Field struct {
	Name  string // "host", "port", "dbname", "username", "password"
	Value string // empty for username and password, and where there is none
	From  Origin
	Key   string // of the secret's JSON
}

// An Origin is where a field comes from.
type Origin string

// Origins.
const (
	FromDSN     Origin = "data source name"
	FromSecret  Origin = "secret"
	FromDefault Origin = "default"
	FromToken   Origin = "token" // of AWS IAM or Options.Token, in place of the password
	FromNowhere Origin = "nowhere"
)

// Explain returns what the connector makes of a version of the secret, which may be nil. The
// error is the one that Connect would return for it; the explanation then has what could be read.
func (c *Connector) Explain(s *secretcache.Secret) (Explanation, error) {
	d := c.source
	e := d.explain()
	e.FallbackStages = slices.Clone(c.resolver.fallbacks)
	e.Engine, e.IAM, e.Params = c.info.Name, d.auth == authIAM, maps.Clone(d.params)
	e.TLSOff = c.info.TurnsTLSOff != nil && c.info.TurnsTLSOff(d.params)
	if s == nil {
		return e, c.empty
	}
	j := decodeSecret(s)
	t, err := j.target(s, d, &c.info, c.tokens != nil)
	e.Keys = slices.Sorted(maps.Keys(j.fields))
	e.Fields = c.fields(t, j)
	e.Encrypt, e.Address = t.ssl, t.address
	if err != nil {
		err = newError("read secret", d.secretID, s.VersionID(), err)
	}
	return e, err
}

// explain returns what the data source name says of the secret.
func (d *dataSource) explain() Explanation {
	return Explanation{SecretID: d.secretID, Stage: d.stage, Location: d.location, FallbackStages: slices.Clone(d.fallback)}
}

// fields returns the fields of a target and where they come from.
func (c *Connector) fields(t *target, j *secretJSON) []Field {
	d, port := c.source, ""
	if t.port != 0 {
		port = strconv.Itoa(t.port)
	}
	from := func(inDSN bool, key, value string) Origin {
		switch stored, ok := j.fields[key]; {
		case inDSN:
			return FromDSN
		case ok && stored != nil && stored != "":
			return FromSecret
		case value != "":
			return FromDefault
		}
		return FromNowhere
	}
	password := from(false, d.fields.password, "")
	if c.tokens != nil {
		password = FromToken
	}
	return []Field{
		{"host", t.host, from(d.host != "", d.fields.host, t.host), d.fields.host},
		{"port", port, from(d.port != 0, d.fields.port, port), d.fields.port},
		{"dbname", t.database, from(d.database != "", d.fields.database, t.database), d.fields.database},
		{"username", "", from(false, d.fields.username, ""), d.fields.username},
		{"password", "", password, d.fields.password},
	}
}

// Explain is [Connector.Explain] with the engine that the data source name or the secret says.
func (c *AnyConnector) Explain(s *secretcache.Secret) (Explanation, error) {
	i := c.fixed
	switch {
	case c.dsn == "":
		return Explanation{}, badDSN(errEmpty)
	case i < 0 && s == nil:
		return c.source.explain(), nil
	case i < 0:
		e := c.source.explain()
		e.Keys = slices.Sorted(maps.Keys(decodeSecret(s).fields))
		name, err := c.engineOf(s)
		if err != nil {
			return e, err
		}
		one, err := c.called(name)
		if err != nil {
			return e, err
		}
		return one.Explain(s)
	}
	one, err := c.connector(i)
	if err != nil {
		return Explanation{}, err
	}
	return one.Explain(s)
}
