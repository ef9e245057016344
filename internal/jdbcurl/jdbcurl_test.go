package jdbcurl_test

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

func TestSplit(t *testing.T) {
	for s, want := range map[string]jdbcurl.URL{
		"x://a:1,b/db?q=1?2/3":   {HasAuthority: true, Authority: "a:1,b", Path: "db", Query: "q=1?2/3"},
		"x://a?q":                {HasAuthority: true, Authority: "a", Query: "q"},
		"x:///db":                {HasAuthority: true, Path: "db"},
		"x://a/b/c#d":            {HasAuthority: true, Authority: "a", Path: "b/c#d"},
		"x:db?q":                 {Path: "db", Query: "q"},
		"x:y://a/b":              {Path: "y://a/b"},
		"x:":                     {},
		"":                       {},
		"x://[::1]:5/?user=a://": {HasAuthority: true, Authority: "[::1]:5", Query: "user=a://"},
	} {
		if got := jdbcurl.Split(s); got != want {
			t.Errorf("Split(%q) = %+v, want %+v", s, got, want)
		}
	}
}

func TestProperties(t *testing.T) {
	for query, want := range map[string][]jdbcurl.Property{
		"":                      nil,
		"&&":                    nil,
		"a=1&b=&c":              {{Name: "a", Value: "1"}, {Name: "b"}, {Name: "c", Bare: true}},
		"a=b=c&a.b=%3d%26+%2B":  {{Name: "a", Value: "b=c"}, {Name: "a.b", Value: "=&++"}},
		"A=1&a=2":               {{Name: "A", Value: "1"}, {Name: "a", Value: "2"}},
		"x=%C3%A4%F0%9F%98%80ä": {{Name: "x", Value: "ä😀ä"}},
	} {
		got, err := jdbcurl.Properties(query)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Properties(%q) = %+v, %v, want %+v", query, got, err, want)
		}
	}
	for query, want := range map[string]string{
		"a=1&a=2":                           `"a" is given twice`,
		"=SECRET":                           "name",
		"SEC RET=1":                         "name",
		"SECRET%41=1":                       "name",
		"a=SECRET%":                         `"a"`,
		"a=SECRET%4":                        `"a"`,
		"a=SECRET%4g":                       `"a"`,
		"a=SECRET%00":                       "NUL",
		"a=SECRET\x00":                      "NUL",
		"a=1&SECRETäö=1":                    "name",
		strings.Repeat("SECRET", 11) + "=1": "name",
	} {
		_, err := jdbcurl.Properties(query)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("Properties(%q): %v, want an error with %s and without the value", query, err, want)
		}
	}
}

func TestCheckCredentials(t *testing.T) {
	for name, ok := range map[string]bool{
		"user": true, "User": false, "USER": false, "username": false, "user_name": false, "uid": false, "userId": false,
		"password": false, "Password": false, "PASS_WORD": false, "pwd": false, "passfile": false, "password2": false,
		"service": false, "sslmode": true, "kerberosServerName": true, "passwordCharacterEncoding": true,
	} {
		err := jdbcurl.CheckCredentials([]jdbcurl.Property{{Name: "a"}, {Name: name, Value: "SECRET"}})
		if (err == nil) != ok || err != nil && (!strings.Contains(err.Error(), strconv.Quote(name)) || strings.Contains(err.Error(), "SECRET")) {
			t.Errorf("%s: %v, want it allowed: %t", name, err, ok)
		}
	}
}

func TestSplitHostPort(t *testing.T) {
	for _, c := range []struct {
		in   string
		host string
		port int
	}{
		{"", "", 0}, {":1", "", 1}, {"h", "h", 0}, {"h:65535", "h", 65535}, {"10.0.0.1:5", "10.0.0.1", 5},
		{"[::1]", "::1", 0}, {"[::1]:5", "::1", 5}, {"[fe80::1%eth0]:5", "fe80::1%eth0", 5}, {"[2001:DB8::0:1]:5", "2001:db8::1", 5}, {"a_b-c.d.:1", "a_b-c.d.", 1},
	} {
		host, port, err := jdbcurl.SplitHostPort(c.in)
		if err != nil || host != c.host || port != c.port {
			t.Errorf("SplitHostPort(%q) = %q, %d, %v", c.in, host, port, err)
		}
	}
	for in, want := range map[string]string{
		"u@h": "credentials", "u:p@h": "credentials", "[::1": `"["`, "[::1]x": `"]"`, "[h]": "brackets", "::1": "IPv6", "h:x": "port", "h:0": "port", "h:65536": "port", "h:": "port", "h x": "host",
	} {
		if _, _, err := jdbcurl.SplitHostPort(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SplitHostPort(%q): %v, want an error with %s", in, err, want)
		}
	}
	for _, in := range []string{
		"h:", "h:0", "h:65536", "h:-1", "h:+1", "h:x", "h: 1", "::1", "[::1", "[::1]x", "[::1]:", "[]", "[]:1", "[h]:1", "[1.2.3.4]",
		"[::1%]", "[fe80::1%x/y]:5", "[fe80::1%x,y]:5", "[fe80::1%x y]", "u@h", "u:p@h", "h/x", "h?x", "h#x", "h,x", "h x", "h'x", `h\x`, "h)x", "-h", "%68", "h;x", "hä", "h\x00", "h\n",
		strings.Repeat("h", 256),
	} {
		if host, port, err := jdbcurl.SplitHostPort(in); err == nil || len(in) > 2 && strings.Contains(err.Error(), in) {
			t.Errorf("SplitHostPort(%q) = %q, %d, %v, want an error that does not quote it", in, host, port, err)
		}
	}
}

func TestSplitAddresses(t *testing.T) {
	for list, want := range map[string]string{
		"h": "[{h 7}]", "::1": "[{::1 7}]", "a,b:1,[::1],[fe80::1%x]:2": "[{a 7} {b 1} {::1 7} {fe80::1%x 2}]",
	} {
		if got, err := jdbcurl.SplitAddresses(list, 7); err != nil || fmt.Sprint(got) != want {
			t.Errorf("SplitAddresses(%q) = %v, %v, want %s", list, got, err, want)
		}
	}
	for _, list := range []string{"", ",", "a,", "a,,b", "a,b:0", "a,b c", "h:1", "a,::1"} {
		if got, err := jdbcurl.SplitAddresses(list, 7); err == nil {
			t.Errorf("SplitAddresses(%q) = %v, want an error", list, got)
		}
	}
	for _, port := range []int{-1, 0, 65536} {
		for _, list := range []string{"h", "a:1,b:2"} {
			if got, err := jdbcurl.SplitAddresses(list, port); err == nil || !strings.Contains(err.Error(), "port") {
				t.Errorf("SplitAddresses(%q, %d) = %v, %v, want an error about the port", list, port, got, err)
			}
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"sslmode", "application_name", "search_path", "tls", "timeout"}
	for name, want := range map[string]string{
		"sslMode": "sslmode", "ssl_mode": "sslmode", "SSL-MODE": "sslmode", "ApplicationName": "application_name",
		"sslmdoe": "sslmode", "aplication_name": "application_name", "searchpath": "search_path", "TLS": "tls", "tsl": "",
		"timeouts": "timeout", "encrypt": "", "x": "", "": "",
	} {
		if got := jdbcurl.Suggest(name, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

// The result has the same host and port as net.JoinHostPort writes.
func FuzzSplitHostPort(f *testing.F) {
	for _, s := range []string{"h:1", "[::1]:1", "h", "", ":1", "[::1]", "u@h:1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := jdbcurl.SplitHostPort(s)
		if err != nil || port == 0 || host == "" {
			return
		}
		if strings.ContainsAny(host, "/?#@,()[]'\"\\ \x00") {
			t.Errorf("SplitHostPort(%q) = %q", s, host)
		}
		h, p, err := net.SplitHostPort(s)
		n, _ := strconv.Atoi(p)
		if a, err := netip.ParseAddr(h); err == nil && a.Is6() {
			h = a.String()
		}
		if err != nil || h != host || n != port {
			t.Errorf("SplitHostPort(%q) = %q, %d; net has %q, %q, %v", s, host, port, h, p, err)
		}
	})
}

// Unescape does the same as PathUnescape of net/url, except for NUL.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"a%20b+c", "%", "%4", "%zz", "%C3%A4", "%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := jdbcurl.Unescape(s)
		want, wantErr := url.PathUnescape(s)
		if strings.ContainsRune(want, 0) {
			if err == nil {
				t.Errorf("Unescape(%q) = %q, want an error", s, got)
			}
			return
		}
		if got != want && wantErr == nil || (err == nil) != (wantErr == nil) {
			t.Errorf("Unescape(%q) = %q, %v, want %q, %v", s, got, err, want, wantErr)
		}
	})
}
