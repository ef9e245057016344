// Package jdbcurl parses the form that the JDBC URLs of several databases have in common:
//
//	scheme://host:port,host:port/database?name=value&name=value
//
// It also helps with misspelt names of parameters. Its errors never quote a host, a value or the
// rest of a URL, because a wrong URL may have a password in it. They quote the name of a parameter
// only if it looks like a name.
package jdbcurl

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A URL has the parts of a JDBC URL. No part is decoded.
type URL struct {
	// HasAuthority says whether "//" follows the scheme. If not, Path has everything before the
	// query.
	HasAuthority bool
	Authority    string
	Path         string // without the slash before it
	Query        string // without the question mark
}

// Split splits a URL: at the first ":", then at the first "?", then the text in between at the
// first "/". Any scheme is accepted. A "#" has no meaning.
func Split(url string) URL {
	_, rest, _ := strings.Cut(url, ":")
	var u URL
	rest, u.Query, _ = strings.Cut(rest, "?")
	if rest, u.HasAuthority = strings.CutPrefix(rest, "//"); u.HasAuthority {
		u.Authority, u.Path, _ = strings.Cut(rest, "/")
	} else {
		u.Path = rest
	}
	return u
}

// A Property is a name and its decoded value.
type Property struct {
	Name, Value string
	Bare        bool // it has no "="; the value is empty
}

// Properties splits a query. A name that is given twice and an empty name are errors. Empty pairs
// between two "&" are skipped.
func Properties(query string) ([]Property, error) {
	var ps []Property
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, raw, ok := strings.Cut(pair, "=")
		if !IsName(name) {
			return nil, errors.New(`a property has an impossible name: write "%26" for "&" in a value`)
		}
		if seen[name] {
			return nil, fmt.Errorf("property %q is given twice", name)
		}
		seen[name] = true
		value, err := Unescape(raw)
		if err != nil {
			return nil, fmt.Errorf("property %q: %w", name, err)
		}
		ps = append(ps, Property{name, value, !ok})
	}
	return ps, nil
}

// IsName reports whether s may be the name of a parameter, so that an error may
// quote it.
func IsName(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return !(r == '_' || r == '.' || r == '-' || r == '@' || r == '$' ||
			'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	}) < 0
}

// Unescape decodes "%41" to "A". A "+" stays a "+". NUL is an error, because it ends a string in
// the protocols of databases.
func Unescape(s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", errors.New("a NUL character")
	}
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return "", errors.New(`"%" is not followed by two hexadecimal digits: write "%25" for "%"`)
		}
		c, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if c == 0 {
			return "", errors.New("a NUL character")
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// SplitHostPort splits "host", "host:port", "[::1]", "[::1]:port" and ":port". The host has no
// brackets, and is in the form that [ParseHost] returns. The port is 0 if there is none.
func SplitHostPort(s string) (host string, port int, err error) {
	if strings.IndexByte(s, '@') >= 0 {
		return "", 0, errors.New("the URL has credentials before its host: leave them out, the secret has them")
	}
	host, number, hasPort := s, "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errors.New(`the host has a "[" without a "]"`)
		}
		host = s[1:end]
		if number, hasPort = strings.CutPrefix(s[end+1:], ":"); !hasPort && number != "" {
			return "", 0, errors.New(`the text after the "]" of the host is not a port`)
		}
		if strings.IndexByte(host, ':') < 0 {
			return "", 0, errors.New("the host has brackets and is not an IPv6 address")
		}
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, number, hasPort = s[:i], s[i+1:], true
		if strings.IndexByte(host, ':') >= 0 {
			return "", 0, errors.New("the host is neither a name nor an IP address: write an IPv6 address in brackets")
		}
	}
	if hasPort {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return "", 0, errPort
		}
		port = int(n)
	}
	if host != "" {
		if host, err = ParseHost(host); err != nil {
			return "", 0, err
		}
	}
	return host, port, nil
}

// ParseHost checks a host, which is a name or an IP address without brackets. It returns an IPv6
// address in the form in which netip prints it. A name, and the zone of an address, consists of
// letters, digits, "-", "_" and ".". None of these has a meaning in a URL, in a connection string
// or in a list of hosts.
func ParseHost(host string) (string, error) {
	name := host
	if strings.IndexByte(host, ':') >= 0 {
		a, err := netip.ParseAddr(host)
		if err != nil {
			return "", errors.New("the host is neither a name nor an IP address") // the cause quotes it
		}
		host, name = a.String(), a.Zone()
	}
	if host == "" || len(host) > 255 || host[0] == '-' || strings.IndexFunc(name, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && !isLetterOrDigit(r)
	}) >= 0 {
		return "", errors.New("the host is neither a name nor an IP address")
	}
	return host, nil
}

// Suggest returns the name in known that the user of name may have meant, or "".
func Suggest(name string, known []string) string {
	plain := Plain(name)
	best, distance := "", 3
	if len(plain) < 6 {
		distance = 2
	}
	for _, k := range known {
		p := Plain(k)
		if p == plain {
			return k
		}
		if d := editDistance(plain, p); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// Plain returns a name without the differences that users get wrong most often: case, "_", "-" and
// spaces.
func Plain(name string) string { return separators.Replace(strings.ToLower(name)) }

var separators = strings.NewReplacer("_", "", "-", "", " ", "")

// Nearly reports whether name is another spelling of known, or one edit away from it: one letter
// more, one letter less, one other letter, or two letters swapped.
func Nearly(name, known string) bool {
	a, b := Plain(name), Plain(known)
	if a == b {
		return true
	}
	if short, long := min(len(a), len(b)), max(len(a), len(b)); short < 4 || long > short+1 {
		return false
	}
	for i := range len(a) - 1 {
		if swapped := a[:i] + a[i+1:i+2] + a[i:i+1] + a[i+2:]; swapped == b {
			return true
		}
	}
	return editDistance(a, b) == 1
}

// editDistance returns how many letters must be inserted, deleted or replaced to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

// OverridesSecret reports whether a parameter is about the address, the database or the user, under
// any vendor's name. The secret has these.
func OverridesSecret(name string) bool {
	switch Plain(name) {
	case "user", "uid", "username", "userid",
		"password", "pwd", "changepassword", "password1", "password2", "password3", "passfile",
		"service", "servicefile", "servicename", "sid", "connstr",
		"database", "initialcatalog",
		"server", "datasource", "address", "addr", "networkaddress",
		"hostname", "hostaddr", "failoverpartner":
		return true
	}
	return false
}

// CheckCredentials returns an error if a property is about the user or the password, under any
// driver's name. The property "user" is allowed: it has the id of the secret.
func CheckCredentials(ps []Property) error {
	for _, p := range ps {
		switch Plain(p.Name) {
		case "user":
			if p.Name != "user" {
				return fmt.Errorf(`property %q has to be spelled "user"`, p.Name)
			}
		case "username", "userid", "uid", "password", "pwd", "passfile",
			"password1", "password2", "password3", "service", "servicefile":
			return fmt.Errorf("property %q is not allowed: the secret has it", p.Name)
		}
	}
	return nil
}
