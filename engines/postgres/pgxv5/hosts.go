package pgxv5

import (
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// parseAuthority parses one host with or without a port, or a list, which it
// returns as it is.
func parseAuthority(s string) (host string, port int, err error) {
	if strings.IndexByte(s, ',') < 0 {
		return jdbcurl.SplitHostPort(s)
	}
	if _, err := jdbcurl.SplitAddresses(s, 1); err != nil {
		return "", 0, err
	}
	return s, 0, nil
}
