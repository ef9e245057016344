package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// The names of the steps.
const (
	stepDSN      = "data source name"
	stepSource   = "source"
	stepRegion   = "region"
	stepIdentity = "identity"
	stepSecret   = "secret"
	stepFields   = "fields"
	stepName     = "name resolution"
	stepTCP      = "TCP"
	stepTLS      = "TLS"
	stepLogin    = "login"
	stepServer   = "server"
)

// steps are all steps, in order. Each returns what it found. With errUnknown the step has no answer,
// and the text says why.
var steps = []struct {
	name, doing string
	take        func(c *check, ctx context.Context) (string, error)
}{
	{stepDSN, "reading the data source name", (*check).readDSN},
	{stepSource, "finding the source", (*check).findSource},
	{stepRegion, "asking AWS STS who we are", (*check).showRegion},
	{stepIdentity, "", (*check).showIdentity},
	{stepSecret, "reading the secret", (*check).readSecret},
	{stepFields, "reading the secret's fields", (*check).readFields},
	{stepName, "resolving the host's name", (*check).resolve},
	{stepTCP, "connecting to the database", (*check).dial},
	{stepTLS, "", (*check).showTLS},
	{stepLogin, "", (*check).showLogin},
	{stepServer, "asking the server for its version", (*check).askServer},
}

// errUnknown marks a step that has no answer but has not failed.
var errUnknown = errors.New("not known")

func (c *check) readDSN(context.Context) (string, error) {
	var err error
	if c.connector, err = c.target.connector(c.engines, &driver.Options{Trace: c.trace()}); err != nil {
		return "", err
	}
	if c.plan, err = c.connector.Explain(nil); err != nil {
		return "", err
	}
	c.id = c.plan.SecretID
	text := fmt.Sprintf("secret %s, stage %s, ", secretid.Quote(c.id), c.plan.Stage)
	if c.plan.Engine == "" {
		return text + "engine named by the secret", nil
	}
	return text + "engine " + c.plan.Engine, nil
}

func (c *check) readFields(context.Context) (string, error) {
	plan, err := c.connector.Explain(c.secret)
	c.plan = plan
	if err != nil {
		return "", err
	}
	return "engine " + plan.Engine + "; " + c.fieldList(), nil
}

func (c *check) fieldList() string {
	var parts []string
	for _, f := range c.plan.Fields {
		text := f.Name
		if f.Value != "" {
			text += " " + f.Value
		}
		switch f.From {
		case driver.FromSecret:
			text += fmt.Sprintf(" (secret, key %q)", f.Key)
		case driver.FromNowhere:
			text += " (none)"
		default:
			text += " (" + string(f.From) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// hosts returns the names of the plan's hosts. If socket is true, the only name is the path of a Unix
// socket.
func (c *check) hosts() (names []string, socket bool) {
	host := c.field("host").Value
	switch jdbcurl.FormOf(host) {
	case jdbcurl.Socket:
		return []string{host}, true
	case jdbcurl.Instance:
		host, _ = jdbcurl.CutInstance(host)
	case jdbcurl.List:
		addresses, err := jdbcurl.SplitAddresses(host, 1)
		for _, a := range addresses {
			names = append(names, a.Host)
		}
		if err == nil {
			return names, false
		}
	}
	return []string{host}, false
}

// resolve looks up the addresses of the hosts. It fails if no host has an address.
func (c *check) resolve(ctx context.Context) (string, error) {
	names, socket := c.hosts()
	if socket {
		return "a Unix socket has no name to resolve", errUnknown
	}
	var parts []string
	var failed error
	found := false
	for _, name := range names {
		if net.ParseIP(name) != nil {
			parts, found = append(parts, name+" is an address"), true
			continue
		}
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			parts, failed = append(parts, err.Error()), err
			continue
		}
		parts, found = append(parts, name+" is "+strings.Join(addresses, ", ")), true
	}
	if !found {
		return "", failed
	}
	return strings.Join(parts, "; "), nil
}

// dial makes the Connect call and returns what was dialed.
func (c *check) dial(ctx context.Context) (string, error) {
	c.connect(ctx)
	if c.failed != nil && c.because.at == stepTCP {
		return "", c.failed.err
	}
	d, _, _ := c.watch.last()
	if d == nil {
		return "nothing was dialed", errUnknown
	}
	text := "connected to " + d.remote
	if d.remote != d.address {
		text += " (" + d.address + ")"
	}
	return text + " in " + d.took.Round(100*time.Microsecond).String(), nil
}

// showLogin returns how each login ended.
func (c *check) showLogin(context.Context) (string, error) {
	if c.failed != nil {
		return "", c.failed.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, l := range c.logins {
		text := l.Stage + " version " + l.Version
		switch {
		case l.Err == nil:
			text += " accepted"
		case l.Rejected:
			text += " rejected: " + l.Err.Error()
		default:
			text += ": " + l.Err.Error()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; "), nil
}

// queries holds the query for the server's version, by engine.
var queries = map[string]string{
	"postgres":  "SELECT version()",
	"redshift":  "SELECT version()",
	"mysql":     "SELECT VERSION()",
	"mariadb":   "SELECT VERSION()",
	"sqlserver": "SELECT @@VERSION",
	"oracle":    "SELECT banner FROM v$version WHERE ROWNUM = 1",
}

func (c *check) askServer(ctx context.Context) (string, error) {
	var version string
	if err := c.conn.QueryRowContext(ctx, queries[c.plan.Engine]).Scan(&version); err != nil {
		return "version unknown: " + err.Error(), errUnknown
	}
	version, _, _ = strings.Cut(version, "\n")
	version, _, _ = strings.Cut(version, ", compiled by")
	return version, nil
}

// findPending sets c.pending if a rotation is under way: the server rejected a version, and
// AWSPENDING is on another version than the one that was sent first.
func (c *check) findPending(ctx context.Context) {
	const pending = "AWSPENDING"
	if c.secret == nil || !slices.Contains(c.plan.FallbackStages, pending) {
		return
	}
	c.mu.Lock()
	rejected := slices.ContainsFunc(c.logins, func(l driver.LoginInfo) bool { return l.Rejected })
	c.mu.Unlock()
	if !rejected {
		return
	}
	s, err := c.cache.Get(ctx, c.id, pending)
	if err != nil || s.VersionID() == c.secret.VersionID() {
		return
	}
	c.pending = describePending(s)
}

func describePending(s *secretcache.Secret) string {
	text := "AWSPENDING is version " + s.VersionID()
	if !s.CreatedAt().IsZero() {
		text += ", which is " + age(s.CreatedAt()) + " old"
	}
	return text
}

// user returns the user's name in the secret, or "". It must not be shown.
func (c *check) user() string {
	if c.secret == nil {
		return ""
	}
	var fields map[string]any
	if json.Unmarshal(c.secret.Bytes(), &fields) != nil {
		return ""
	}
	key := c.field("username").Key
	if key == "" {
		key = "username"
	}
	name, _ := fields[key].(string)
	return name
}
