// Package configtest checks what engines make of parameters, of URLs and of the address in a secret
// or a URL, up to the configuration of the vendor's driver.
package configtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
)

// An Endpoint is the address and the database to which a vendor's driver must connect.
type Endpoint struct {
	Host     string // a name, or an IP address as netip prints it
	Port     int
	Database string
}

// An Injection has the differences between engines for Fuzz.
type Injection struct {
	Info   driver.Info
	Params string // they ask for verified TLS, if the vendor's configuration shows the name
	// URL returns a JDBC URL with "host:port", a database and Params, in the escaping of the
	// engine. It returns "" if a URL cannot have that database.
	URL func(hostPort, database string) string
	// Open opens a data source name with a secret of that value. It returns the configuration with
	// which the vendor's driver would connect.
	Open func(t *testing.T, dsn, secret string) (drivertest.Fields, error)
	// Want returns the fields of that configuration that depend on the endpoint.
	Want func(Endpoint) map[string]string
}

// Fuzz puts hosts, ports and databases of any characters into the secret, the data source name and
// a URL. Each is an error, or the vendor's own parser returns exactly that host, port and database,
// and no other option changes.
func (in Injection) Fuzz(f *testing.F) {
	for _, host := range []string{"h", "db.example.com", "::1", "[::1]", "fe80::1%eth0", "10.0.0.1", "evil.com:3306/x?allowLoadLocalInfile=true#", "h;x=y", "h,other", "[::1]:5,h", "/var/run/x", `h\INST`, "u@h", "h'x", "h)(PORT=1"} {
		f.Add(host, "1234", "app")
	}
	for _, port := range []string{"", "0", "65536", "3306;inject", " 1", "+1", "1,2"} {
		f.Add("h", port, "app")
	}
	for _, database := range []string{"", "a b", "db#fragment", "db?x=y", "db;x=y", "a/b", "a&b=c", "' host='evil", `\' sslmode=disable`, "a};encrypt={no", "a)(HOST=evil)(x=", "{a}", ":SID", " a ", "ä😀", "%61", "a\x00b"} {
		f.Add("h", "1", database)
	}
	const secret = `{"engine":%q,"host":"secret.test","port":1111,"dbname":"secretdb","username":"u","password":"p"}`
	ordinary := regexp.MustCompile(`^[a-z0-9][a-z0-9.]{0,20} [1-9][0-9]{0,3} [a-zA-Z0-9_]{1,20}$`)
	var without drivertest.Fields
	f.Fuzz(func(t *testing.T, host, port, database string) {
		if !utf8.ValidString(host + port + database) {
			return // JSON has no such strings
		}
		if without == nil {
			var err error
			if without, err = in.Open(t, "app?"+in.Params, fmt.Sprintf(secret, in.Info.Name)); err != nil {
				t.Fatal(err)
			}
		}
		value, err := json.Marshal(map[string]string{"engine": in.Info.Name, "host": host, "port": port, "dbname": database, "username": "u", "password": "p"})
		if err != nil {
			t.Fatal(err)
		}
		ways := []struct{ name, dsn, secret string }{
			{"the secret", "app?" + in.Params, string(value)},
			{"the data source name", "app?host=" + escape(host) + "&port=" + escape(port) + "&dbname=" + escape(database) + "&" + in.Params, fmt.Sprintf(secret, in.Info.Name)},
		}
		// Each engine fuzzes the other parts of its URLs itself.
		if !strings.ContainsAny(host+port, "/?;,@()[]\\&#= \t\r\n") && host != "" && port != "" && database != "" {
			hostPort := host + ":" + port
			if strings.Contains(host, ":") {
				hostPort = "[" + host + "]:" + port
			}
			if url := in.URL(hostPort, database); url != "" {
				ways = append(ways, struct{ name, dsn, secret string }{"the URL", url, fmt.Sprintf(secret, in.Info.Name)})
			}
		}
		for _, way := range ways {
			got, err := in.Open(t, way.dsn, way.secret)
			if err != nil {
				if e := (*driver.Error)(nil); !errors.As(err, &e) {
					t.Errorf("host %q, port %q, database %q of %s: %v, a %T", host, port, database, way.name, err, err)
				}
				if ordinary.MatchString(host + " " + port + " " + database) {
					t.Errorf("host %q, port %q, database %q of %s: %v", host, port, database, way.name, err)
				}
				continue
			}
			want := Endpoint{plainHost(host), in.Info.Port, database}
			if port != "" {
				if want.Port, err = strconv.Atoi(port); err != nil || strings.Trim(port, "0123456789") != "" {
					t.Errorf("port %q of %s is accepted", port, way.name)
				}
			}
			if database == "" {
				want.Database = in.Info.Database
			}
			var paths []string
			for path, text := range in.Want(want) {
				paths = append(paths, path)
				if got.Text(path) != text {
					t.Errorf("host %q, port %q, database %q of %s: %s is %s, want %s", host, port, database, way.name, path, got.Text(path), text)
				}
			}
			if other := got.Without(paths...).Since(without.Without(paths...)); other != "" {
				t.Errorf("host %q, port %q, database %q of %s: another %s", host, port, database, way.name, other)
			}
		}
	})
}

// PgxFields returns the fields of a *pgx.ConnConfig that depend on the endpoint.
func PgxFields(ep Endpoint) map[string]string {
	name, _, _ := strings.Cut(ep.Host, "%") // not an IPv6 zone
	return Pairs("Host", strconv.Quote(ep.Host), "Port", strconv.Itoa(ep.Port), "Database", strconv.Quote(ep.Database),
		"TLSConfig.ServerName", strconv.Quote(name))
}

// plainHost returns a host in the form that an engine gets.
func plainHost(host string) string {
	inner := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(inner); err == nil && a.Is6() {
		return a.String()
	}
	return host
}

// escape percent-encodes every byte.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}
