package goora

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL as Oracle's JDBC driver has it, after "oracle:thin:",
//
//	@host:port/service?user=<secret id>&name=value
//	@//host:port/service:server/instance
//	@tcps://host,host:port/service
//	@host:port:SID
//	@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=…)(PORT=…))(CONNECT_DATA=(SERVICE_NAME=…)))
//
// All but the user may be missing. Values and the database are percent-decoded, a
// descriptor is not. Names of tnsnames.ora and LDAP are not looked up: what is not one
// of the forms is a host.
//
// A property is one of the JDBC driver's or of a descriptor's, and then translated,
// or go-ora's parameter under its own name, with "_" for a space. One without a
// counterpart is an error.
func (e Engine) ParseURL(raw string, own func(property string) bool) (u driver.URL, err error) {
	_, rest, _ := strings.Cut(raw, ":")
	if kind, _, _ := strings.Cut(rest, ":"); kind == "oci" || kind == "oci8" || kind == "kprb" {
		return u, fmt.Errorf("the URL is for the driver %s of Oracle's; go-ora is as oracle:thin is", kind)
	}
	rest, ok := strings.CutPrefix(rest, "thin:")
	if !ok {
		return u, errors.New("the URL is not of the form oracle:thin:@host:port/service")
	}
	if credentials, after, ok := strings.Cut(rest, "@"); !ok {
		return u, errors.New(`the URL has no "@" before its host`)
	} else if credentials != "" {
		return u, errors.New("the URL has credentials before its host; the secret has them")
	} else {
		rest = after
	}
	t := translation{Params: jdbcurl.Params{Values: map[string]string{}, Plain: canonical}}
	target, query := "", ""
	if strings.HasPrefix(rest, "(") {
		var d node
		if d, rest, err = parseDescriptor(rest); err != nil {
			return u, err
		}
		if query, ok = strings.CutPrefix(rest, "?"); !ok && rest != "" {
			return u, errors.New("something other than properties follows the descriptor")
		}
		err = t.description(d)
	} else {
		target, query, _ = strings.Cut(rest, "?")
	}
	props, perr := jdbcurl.Properties(query)
	if perr != nil {
		return u, perr
	}
	// First of all, since other errors may quote what follows a "&" in a password.
	if err := jdbcurl.CheckCredentials(props); err != nil {
		return u, err
	}
	if err == nil && !strings.HasPrefix(raw, "oracle:thin:@(") {
		err = t.easyConnect(target)
	}
	if err != nil {
		return u, err
	}
	for _, p := range props {
		switch {
		case p.Name == "user":
			u.SecretID = p.Value
		case own(p.Name):
			err = t.Set(p.Name, p.Name, p.Value)
		default:
			err = t.property(p)
		}
		if err != nil {
			return u, err
		}
	}
	if u.SecretID == "" {
		return u, errors.New(`the URL has no "user"; it is the id of the secret`)
	}
	u.Host, u.Port = t.host()
	u.Database, u.Params = t.database, t.Values
	return u, nil
}

// A translation turns a URL's parts into an endpoint's.
type translation struct {
	hosts    []hostPort
	lists    int
	database string
	jdbcurl.Params
}

type hostPort struct {
	host string
	port int // 0: not said
}

// host returns one host, or a list as parseHosts reads it.
func (t *translation) host() (host string, port int) {
	if len(t.hosts) == 0 {
		return "", 0
	}
	if len(t.hosts) == 1 {
		return t.hosts[0].host, t.hosts[0].port
	}
	var list []string
	for _, h := range t.hosts {
		one := h.host
		if h.port != 0 {
			one = net.JoinHostPort(h.host, strconv.Itoa(h.port))
		} else if strings.IndexByte(one, ':') >= 0 {
			one = "[" + one + "]"
		}
		list = append(list, one)
	}
	return strings.Join(list, ","), 0
}

func (t *translation) setDatabase(name string) error {
	if err := checkName(strings.TrimPrefix(name, ":")); err != nil {
		return fmt.Errorf("the service or SID: %w", err)
	}
	if t.database != "" {
		return errors.New("the URL has more than one service or SID")
	}
	t.database = name
	return nil
}

// easyConnect reads what is not a descriptor.
func (t *translation) easyConnect(s string) error {
	slashes := false
	if scheme, after, ok := strings.Cut(s, "://"); ok && !strings.ContainsAny(scheme, "/:") {
		switch lower := strings.ToLower(scheme); lower {
		case "tcp", "tcps":
			if err := t.Set("PROTOCOL", "PROTOCOL", lower); err != nil {
				return err
			}
		case "ldap", "ldaps":
			return errors.New("the URL is a name in LDAP, which is not looked up; give host:port/service")
		default:
			return errors.New("the URL has another protocol than tcp and tcps")
		}
		s, slashes = after, true
	} else if after, ok := strings.CutPrefix(s, "//"); ok {
		s, slashes = after, true
	}
	authority, path, hasPath := strings.Cut(s, "/")
	if strings.IndexByte(authority, ';') >= 0 {
		return errors.New("the URL has more than one list of hosts")
	}
	// host:port:SID, after an IPv6 address's brackets.
	if last := strings.LastIndexByte(authority, ':'); !hasPath && !slashes && last > strings.LastIndexByte(authority, ']') {
		if before := authority[:last]; strings.IndexByte(before[strings.LastIndexByte(before, ']')+1:], ':') >= 0 {
			name, err := jdbcurl.Unescape(authority[last+1:])
			if err != nil {
				return fmt.Errorf("the SID: %w", err)
			}
			if err := t.setDatabase(":" + name); err != nil {
				return err
			}
			authority = before
		}
	}
	if err := t.authority(authority); err != nil {
		return err
	}
	path, instance, hasInstance := strings.Cut(path, "/")
	path, server, hasServer := strings.Cut(path, ":")
	if path != "" {
		name, err := jdbcurl.Unescape(path)
		if err != nil {
			return fmt.Errorf("the service: %w", err)
		}
		if err := t.setDatabase(name); err != nil {
			return err
		}
	}
	if hasServer {
		if err := t.Set("server", "SERVER TYPE", server); err != nil {
			return err
		}
	}
	if hasInstance {
		return t.Set("instance", "INSTANCE NAME", instance)
	}
	return nil
}

// authority reads hosts with commas between; one without a port has that of the next
// that has one. Oracle's clients take several in any order.
func (t *translation) authority(s string) error {
	if s == "" {
		return nil
	}
	for one := range strings.SplitSeq(s, ",") {
		host, port, err := jdbcurl.SplitHostPort(one)
		if err == nil && host == "" {
			err = errors.New("the URL has a port without a host")
		}
		if err != nil {
			return err
		}
		t.hosts = append(t.hosts, hostPort{host, port})
	}
	for i := len(t.hosts) - 2; i >= 0; i-- {
		if t.hosts[i].port == 0 {
			t.hosts[i].port = t.hosts[i+1].port
		}
	}
	if len(t.hosts) > 1 {
		t.Values["LOAD BALANCE"] = "true"
	}
	return nil
}

func (t *translation) property(p jdbcurl.Property) error {
	if p.Bare {
		// Not quoted: it may be what follows a "&" in a value.
		return errors.New("a property has no value")
	}
	known, ok := properties[strings.ToLower(p.Name)]
	if !ok {
		for prefix, hint := range families {
			if strings.HasPrefix(strings.ToLower(p.Name), prefix) {
				return fmt.Errorf("property %q: it has no counterpart in go-ora%s", p.Name, hint)
			}
		}
		return t.Set(p.Name, p.Name, p.Value) // CheckParams knows it or not
	}
	return t.Translate(p.Name, p.Value, known.param, known.translate, checkValue)
}
