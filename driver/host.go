package driver

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// parseHost parses the host of a secret or a data source name, in any form. takesHost tells whether
// the engine supports that form.
func parseHost(s string) (string, error) {
	switch jdbcurl.FormOf(s) {
	case jdbcurl.Socket:
		return s, jdbcurl.CheckSocket(s)
	case jdbcurl.Instance:
		name, instance := jdbcurl.CutInstance(s)
		if !jdbcurl.IsInstance(instance) {
			return "", errors.New(`the name of the instance after the "\" is not valid`)
		}
		name, err := parseName(name)
		return name + `\` + instance, err
	case jdbcurl.List:
		if commaPort.MatchString(s) {
			return "", errPortInHost
		}
		_, err := jdbcurl.SplitAddresses(s, 1)
		return s, err
	}
	return parseName(s)
}

// commaPort matches a list that contains a number, such as "host,1433": SQL Server's tools write the
// port like this.
var commaPort = regexp.MustCompile(`, *[0-9]+ *(,|$)`)

var errPortInHost = errors.New(`it is neither a host name nor an IP address; give the port with "port"`)

// parseName returns a host name, or an IP address without brackets.
func parseName(s string) (string, error) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
		if !strings.Contains(s, ":") {
			return "", errors.New("it has brackets, but is no IPv6 address")
		}
	}
	host, err := jdbcurl.ParseHost(s)
	switch {
	case err == nil:
		return host, nil
	case strings.Contains(s, ":"):
		return "", errPortInHost
	}
	return "", errors.New("it is neither a host name nor an IP address")
}

// takesHost returns an error if the engine does not support the form of the host.
func (i *Info) takesHost(host string) error {
	switch form := jdbcurl.FormOf(host); {
	case form == jdbcurl.Socket && !i.HostSocket:
		return fmt.Errorf("it is the path of a Unix socket, but the driver for %s connects by TCP only: give the name or the IP address of a host", i.Name)
	case form == jdbcurl.Instance && !i.HostInstance:
		return fmt.Errorf(`it has the name of an instance after a "\", but the driver for %s has no instances: give the host only`, i.Name)
	case form == jdbcurl.List && !i.HostList:
		return fmt.Errorf("it is a list of hosts, but the driver for %s takes only one host here: give one host, or a JDBC URL if this kind of URL can have several", i.Name)
	}
	return nil
}

// checkHost checks the host of a data source name that is not a URL. Engine.ParseURL checks the host
// of a URL.
func (d *dataSource) checkHost(info *Info) error {
	if err := info.takesHost(d.host); err != nil {
		return fmt.Errorf(`parameter "host": %w`, err)
	}
	return nil
}

// address returns the name of a place for the gate and for people: "host:port". For a list, a socket
// or an instance it is the host as it was given.
func (p place) address() string {
	if jdbcurl.FormOf(p.host) != jdbcurl.Name {
		return p.host
	}
	return net.JoinHostPort(p.host, strconv.Itoa(p.port))
}
