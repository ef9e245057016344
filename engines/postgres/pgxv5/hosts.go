package pgxv5

import (
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// parseAuthority parses one host with or without a port. It returns a list unchanged as the host.
func parseAuthority(s string) (host string, port int, err error) {
	if strings.IndexByte(s, ',') < 0 {
		return jdbcurl.SplitHostPort(s)
	}
	if _, err := jdbcurl.SplitAddresses(s, 1); err != nil {
		return "", 0, err
	}
	return s, 0, nil
}

// addresses returns the hosts of an endpoint, or the directory of a Unix socket. pgx makes the name
// of the socket's file from the port.
func addresses(ep driver.Endpoint) ([]jdbcurl.Address, error) {
	if !isSocket(ep.Host) {
		return jdbcurl.SplitAddresses(ep.Host, ep.Port)
	}
	if err := jdbcurl.CheckSocket(ep.Host); err != nil {
		return nil, err
	}
	return []jdbcurl.Address{{Host: ep.Host, Port: ep.Port}}, nil
}

func isSocket(host string) bool { return jdbcurl.FormOf(host) == jdbcurl.Socket }
