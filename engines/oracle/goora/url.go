package goora

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL in the form of Oracle's JDBC driver. After "oracle:thin:" follows one of
//
//	@host:port/service?user=<secret id>&name=value
//	@//host:port/service:server/instance
//	@tcps://host,host:port/service
//	@host:port:SID
//	@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=…)(PORT=…))(CONNECT_DATA=(SERVICE_NAME=…)))
//
// Only the user is required. Values and the database are percent-decoded. A descriptor is not.
// Names of tnsnames.ora and LDAP are not looked up: "@MYDB" is an error, and "@//myhost" is a host.
//
// A property of the JDBC driver or of a descriptor is translated, or is an error if go-ora has no
// counterpart. A parameter of go-ora is taken under its own name, with "_" for a space.
func (e Engine) ParseURL(raw string, own func(property string) bool) (driver.URL, error) {
	rest, err := cutPrefix(raw)
	if err != nil {
		return driver.URL{}, err
	}
	readAddress, query, err := splitAddress(rest)
	if err != nil {
		return driver.URL{}, err
	}
	pairs, err := jdbcurl.Properties(query)
	if err != nil {
		return driver.URL{}, err
	}
	t := &translation{Translation: words.NewTranslation()}
	if err := readAddress(t); err != nil {
		return driver.URL{}, err
	}
	t.setHost()
	return t.Translate(append(t.options, pairs...), own)
}

// cutPrefix returns what follows "oracle:thin:@".
func cutPrefix(url string) (string, error) {
	_, rest, _ := strings.Cut(url, ":")
	kind, rest, _ := strings.Cut(rest, ":")
	switch kind {
	case "thin":
	case "oci", "oci8", "kprb":
		return "", fmt.Errorf(`the URL is for Oracle's driver %s: write "oracle:thin:"`, kind)
	default:
		return "", errors.New("the URL is not of the form oracle:thin:@host:port/service")
	}
	credentials, rest, ok := strings.Cut(rest, "@")
	switch {
	case !ok:
		return "", errors.New(`the URL has no "@" before its host`)
	case credentials != "":
		return "", errors.New("the URL has credentials before its host: leave them out, the secret has them")
	}
	return rest, nil
}

// splitAddress returns a func that reads the address of a URL, and the query after the address.
func splitAddress(s string) (read func(t *translation) error, query string, err error) {
	if !strings.HasPrefix(s, "(") {
		address, query, _ := strings.Cut(s, "?")
		return func(t *translation) error { return t.easyConnect(address) }, query, nil
	}
	d, rest, err := parseDescriptor(s)
	if err != nil {
		return nil, "", err
	}
	query, ok := strings.CutPrefix(rest, "?")
	if !ok && rest != "" {
		return nil, "", errors.New("the text after the descriptor is not a list of properties")
	}
	return func(t *translation) error { return t.description(d) }, query, nil
}

// A translation translates a URL. It reads the address first.
type translation struct {
	*vocabulary.Translation
	hosts   []hostPort
	lists   int               // number of ADDRESS_LISTs
	options []vocabulary.Pair // of a descriptor; they are properties, like those in the query
}

type hostPort struct {
	host string
	port int // 0: not given
}

// setHost sets one host, or a list in the form that jdbcurl.SplitAddresses reads.
func (t *translation) setHost() {
	if len(t.hosts) == 1 {
		t.Host, t.Port = t.hosts[0].host, t.hosts[0].port
		return
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
	t.Host = strings.Join(list, ",")
}

func (t *translation) setDatabase(name string) error {
	if err := checkName(strings.TrimPrefix(name, ":")); err != nil {
		return fmt.Errorf("the service or SID: %w", err)
	}
	if t.Database != "" {
		return errors.New("the URL has more than one service or SID")
	}
	t.Database = name
	return nil
}

// easyConnect reads an address that is not a descriptor.
func (t *translation) easyConnect(s string) error {
	s, marked, err := t.protocol(s)
	if err != nil {
		return err
	}
	authority, path, hasPath := strings.Cut(s, "/")
	if strings.IndexByte(authority, ';') >= 0 {
		return errors.New("the URL has more than one list of hosts")
	}
	if !marked && !hasPath {
		if authority != "" && authority != "localhost" && !strings.ContainsAny(authority, ".:,[") {
			return errors.New("the URL has a name of tnsnames.ora, which is not read: give host:port/service, or the descriptor that the file has for the name; a host alone is @//host")
		}
		if authority, err = t.sid(authority); err != nil {
			return err
		}
	}
	if err := t.authority(authority); err != nil {
		return err
	}
	return t.service(path)
}

// protocol reads "tcps://" or "//" before a host, if it is there, and returns the rest.
func (t *translation) protocol(s string) (rest string, marked bool, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, "/:") {
		rest, marked = strings.CutPrefix(s, "//")
		return rest, marked, nil
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "tcp", "tcps":
		return rest, true, t.Set("PROTOCOL", "PROTOCOL", scheme)
	case "ldap", "ldaps":
		return "", false, errors.New("the URL is a name in LDAP, which is not looked up: give host:port/service")
	}
	return "", false, errors.New("the URL has an unknown protocol: give tcp or tcps")
}

// sid reads the SID of host:port:SID, if there is one, and returns the rest.
func (t *translation) sid(authority string) (rest string, err error) {
	afterIPv6 := authority[strings.LastIndexByte(authority, ']')+1:]
	if strings.Count(afterIPv6, ":") < 2 {
		return authority, nil
	}
	last := strings.LastIndexByte(authority, ':')
	name, err := jdbcurl.Unescape(authority[last+1:])
	if err != nil {
		return "", fmt.Errorf("the SID: %w", err)
	}
	return authority[:last], t.setDatabase(":" + name)
}

// service reads service:server/instance.
func (t *translation) service(path string) error {
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

// authority reads a list of hosts. A host without a port has the port of the next host that has
// one. Several hosts are tried in a random order, as Oracle's clients do.
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
		t.Params["LOAD BALANCE"] = "true"
	}
	return nil
}
