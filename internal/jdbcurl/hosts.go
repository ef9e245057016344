package jdbcurl

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var errPort = errors.New("the port is not a number from 1 to 65535")

// A Form is the form of a host.
type Form int

const (
	Name     Form = iota // a name or an IP address
	List                 // "h1,h2:5433"
	Socket               // "/run/mysqld/mysqld.sock", or the directory of one
	Instance             // `host\INSTANCE`
)

// FormOf returns the form of a host. It does not check the rest of the host.
func FormOf(host string) Form {
	switch {
	case strings.HasPrefix(host, "/"):
		return Socket
	case strings.Contains(host, `\`):
		return Instance
	case strings.Contains(host, ","):
		return List
	}
	return Name
}

// CheckSocket checks the path of a Unix socket, or of its directory. The path must be absolute and
// have only letters, digits and a few other characters. None of these has a meaning in a list of
// hosts or in a connection string.
func CheckSocket(path string) error {
	if FormOf(path) != Socket || len(path) > 255 || strings.IndexFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-~+:", r) && !isLetterOrDigit(r)
	}) >= 0 {
		return errors.New(`it is not the path of a Unix socket, which has letters, digits and the characters "/._-~+:"`)
	}
	return nil
}

// CutInstance splits `host\INSTANCE`. The instance is empty if there is none.
func CutInstance(host string) (name, instance string) {
	name, instance, _ = strings.Cut(host, `\`)
	return name, instance
}

// WithInstance returns a host with the given instance instead of its own. If instance is empty, it
// returns host unchanged.
func WithInstance(host, instance string) string {
	if instance == "" {
		return host
	}
	name, _ := CutInstance(host)
	return name + `\` + instance
}

// IsInstance reports whether s may be the name of a SQL Server instance: letters, digits and a few
// other characters that have no meaning in a list.
func IsInstance(s string) bool {
	return s != "" && len(s) <= 64 && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("_$#&-", r) && !isLetterOrDigit(r) && r < 0xc0
	}) < 0
}

func isLetterOrDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// CheckAddress checks the host and the port of a secret, of a data source name or of a URL. The
// host must be one that ParseHost accepts.
func CheckAddress(host string, port int) error {
	if port < 1 || port > 65535 {
		return errPort
	}
	_, err := ParseHost(host)
	return err
}

// An Address is one host of a list, with its port.
type Address struct {
	Host string
	Port int
}

// SplitAddresses splits one host, or a list such as "host:port,[::1]:port,host". A host
// without a port has defaultPort.
func SplitAddresses(list string, defaultPort int) ([]Address, error) {
	if defaultPort < 1 || defaultPort > 65535 {
		return nil, errPort
	}
	if strings.IndexByte(list, ',') < 0 {
		if _, err := ParseHost(list); err != nil {
			return nil, err
		}
		return []Address{{list, defaultPort}}, nil
	}
	var all []Address
	for one := range strings.SplitSeq(list, ",") {
		host, port, err := SplitHostPort(one)
		if err == nil && host == "" {
			err = errors.New("a host is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("the list of hosts: %w", err)
		}
		if port == 0 {
			port = defaultPort
		}
		all = append(all, Address{host, port})
	}
	return all, nil
}

// ServerName returns a host in the form that a certificate has: an IPv6 address without its zone.
func ServerName(host string) string {
	name, _, _ := strings.Cut(host, "%")
	return name
}
