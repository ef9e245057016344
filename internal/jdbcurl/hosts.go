package jdbcurl

import (
	"errors"
	"fmt"
	"strings"
)

var errPort = errors.New("the port is not a number from 1 to 65535")

// CheckAddress checks the host and the port that a secret, a data source name or a URL
// says. The host is one that ParseHost takes.
func CheckAddress(host string, port int) error {
	if port < 1 || port > 65535 {
		return errPort
	}
	_, err := ParseHost(host)
	return err
}

// An Address is one of a list.
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

// ServerName is a host as a certificate has it: an IPv6 address without its zone.
func ServerName(host string) string {
	name, _, _ := strings.Cut(host, "%")
	return name
}
