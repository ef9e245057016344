package driver

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// ParseDSN returns a parsed data source name, for comparison, and a data source name that is not a URL and
// means the same.
func ParseDSN(engine Engine, dsn string) (parsed any, canonical string, err error) {
	info := engine.Info()
	d, err := parseDSN(engine, &info, dsn)
	if err != nil {
		return nil, "", err
	}
	return d, d.format(), nil
}

func (d *dataSource) format() string {
	values := maps.Clone(d.params)
	if values == nil {
		values = map[string]string{}
	}
	set := func(key, value, absent string) {
		if value != absent {
			values[key] = value
		}
	}
	set("host", d.host, "")
	set("port", strconv.Itoa(d.port), "0")
	set("dbname", d.database, "")
	set("engine", d.engine, "")
	set("hostKey", d.fields.host, defaultFields.host)
	set("portKey", d.fields.port, defaultFields.port)
	set("dbnameKey", d.fields.database, defaultFields.database)
	set("usernameKey", d.fields.username, defaultFields.username)
	set("passwordKey", d.fields.password, defaultFields.password)
	set("region", d.location.Region, "")
	set("endpoint", d.location.Endpoint, "")
	set("source", d.location.Source, "")
	set("auth", d.auth, "")
	set("profile", d.location.Profile, "")
	set("roleArn", d.location.RoleARN, "")
	set("externalId", d.location.ExternalID, "")
	set("stage", d.stage, secretcache.StageCurrent)
	set("fallback", strings.Join(d.fallback, ","), "")
	if d.fallback != nil && len(d.fallback) == 0 {
		values["fallback"] = "none"
	}
	if d.rotationWindow >= 0 {
		values["rotationWindow"] = d.rotationWindow.String()
	}
	switch {
	case d.maxLogins < 0:
		values["maxLogins"] = "none"
	case d.maxLogins > 0:
		values["maxLogins"] = strconv.Itoa(d.maxLogins)
	}
	if d.closeSuperseded != nil {
		values["closeSuperseded"] = strconv.FormatBool(*d.closeSuperseded)
	}
	sep, dsn := "?", d.secretID
	for _, key := range slices.Sorted(maps.Keys(values)) {
		dsn += sep + key + "=" + escape(values[key])
		sep = "&"
	}
	return dsn
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isAlnum(rune(c)) || strings.IndexByte("-_.~/:@,+", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Gates returns the number of gates that connectors share or can share.
func Gates() int {
	gates.Lock()
	defer gates.Unlock()
	return len(gates.byKey)
}

// Verdicts returns the number of verdicts that the gate of c remembers.
func Verdicts(c *Connector) int {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return len(c.gate.verdicts)
}
