package driver

import (
	"maps"
	"slices"
	"strconv"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An Explanation says where a connector gets its secret, and where each field of a login comes
// from. It is for tools that find out why a program does not connect. Of the secret's values it
// has only host, port and database.
type Explanation struct {
	SecretID       string   // as in the data source name
	Stage          string   // version stage that the connector reads
	FallbackStages []string // in the order in which they are tried; empty means none
	Location       Location // of the data source name

	// Engine is the name of the engine, such as "postgres". It and all fields below, except Keys,
	// are zero if neither the data source name nor the secret has told it.
	Engine string
	// IAM says that a login sends a token of AWS IAM in place of the password ("auth=iam").
	IAM bool
	// Params are the data source name's parameters for the engine, in the vendor's spelling. Do
	// not show all of them: one may be the passphrase of a key.
	Params map[string]string
	// Keys are the names of the keys in the secret's JSON, sorted. Keys and Fields are empty
	// without a secret.
	Keys   []string
	Fields []Field // host, port, dbname, username, password
	// Encrypt says that the secret's "ssl" asks for TLS.
	Encrypt bool
	// TLSOff says that the data source name turns TLS off. It takes precedence over Encrypt.
	TLSOff  bool
	Address string // as in LoginInfo.Address; empty without a secret
}

// A Field is one part of a login.
type Field struct {
	Name  string // "host", "port", "dbname", "username" or "password"
	Value string // empty for username and password, and for a field without a value
	From  Origin // where the value comes from
	Key   string // name of the key in the secret's JSON that this field is read from
}

// An Origin says where a field comes from.
type Origin string

// Values of [Field].From.
const (
	FromDSN     Origin = "data source name"
	FromSecret  Origin = "secret"
	FromDefault Origin = "default" // of the engine, such as its port
	FromToken   Origin = "token"   // of AWS IAM or Options.Token, in place of the password
	FromNowhere Origin = "nowhere" // the field has no value
)

// Explain returns what the connector would use of a version of the secret, for example of one from
// [secretcache.Cache.Get]. The error is the one that Connect would return for s. With an error, the
// Explanation has what could be read. If s is nil, only the data source name is explained, and the
// error is nil unless the data source name is empty.
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

// explain returns what the data source name says about the secret.
func (d *dataSource) explain() Explanation {
	return Explanation{SecretID: d.secretID, Stage: d.stage, Location: d.location, FallbackStages: slices.Clone(d.fallback)}
}

// fields returns the fields of a target, with their origins.
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

// Explain is [Connector.Explain] for the engine that the data source name or the secret names. If
// neither names one, because s is nil, the Explanation has no Engine and the error is nil.
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
