package pgxv5

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// parseAuthority parses one host with or without a port, or a list, which it
// returns as it is.
func parseAuthority(s string) (host string, port int, err error) {
	if strings.IndexByte(s, ',') < 0 {
		return jdbcurl.SplitHostPort(s)
	}
	if _, err := parseHosts(s, 1); err != nil {
		return "", 0, err
	}
	return s, 0, nil
}

// An address is a host to connect to: a name, or an IP address without brackets.
type address struct {
	host string
	port uint16
}

// parseHosts splits what ParseURL has put into URL.Host, or a single host.
func parseHosts(s string, defaultPort int) ([]address, error) {
	if defaultPort < 1 || defaultPort > 65535 {
		return nil, errors.New("the port is not a number from 1 to 65535")
	}
	if strings.IndexByte(s, ',') < 0 {
		if _, err := jdbcurl.ParseHost(s); err != nil {
			return nil, err
		}
		return []address{{s, uint16(defaultPort)}}, nil
	}
	var hosts []address
	for one := range strings.SplitSeq(s, ",") {
		host, port, err := jdbcurl.SplitHostPort(one)
		if err == nil && host == "" {
			err = errors.New("a host is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("the list of hosts: %w", err)
		}
		if port == 0 {
			port = defaultPort
		}
		hosts = append(hosts, address{host, uint16(port)})
	}
	return hosts, nil
}
