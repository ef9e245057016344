package goora

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// settings is what the parameters say.
type settings struct {
	tls            *bool  // whether TLS is on; nil: not given
	protocol       string // "tcp" or "tcps" if PROTOCOL was given, or ""
	verify         *bool
	wallet         string
	connectTimeout time.Duration // of the whole Connect call; zero: none
	dialTimeout    time.Duration // of dialling one address; zero: none
	loadBalance    bool
	serverType     string // "dedicated", "shared", "pooled" or ""
	dbnameIs       string // "service", "sid" or ""
	config         configurations.ConnectionConfig
}

// off reports whether TLS is turned off.
func (s *settings) off() bool { return s.tls != nil && !*s.tls }

// readSettings reads parameters.
func readSettings(params map[string]string) (*settings, error) {
	read, err := words.Read(params)
	if err != nil {
		return nil, err
	}
	// The defaults are those of go-ora's ParseConfig.
	s := &settings{config: configurations.ConnectionConfig{
		ClientInfo:   configurations.ClientInfo{Language: "AMERICAN", Territory: "AMERICA"},
		SessionInfo:  configurations.SessionInfo{Timeout: 10 * time.Minute, SessionDataUnitSize: 2 << 20, TransportDataUnitSize: 2 << 20, SSLVerify: true},
		PrefetchRows: 25,
	}}
	for name, value := range read {
		if err := setters[name](s, value); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", name, err)
		}
	}
	if s.protocol != "" {
		on := s.protocol == "tcps"
		if s.tls != nil && *s.tls != on {
			return nil, errors.New(`parameter "SSL" contradicts the protocol: tcp has no TLS, and tcps has`)
		}
		s.tls = &on
	}
	if s.tls != nil && *s.tls {
		return s, nil
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if key := canonical(name); key == "SSL VERIFY" || key == "WALLET" {
			return nil, fmt.Errorf("parameter %q needs SSL=true", name)
		}
	}
	return s, nil
}

func setBool(to **bool, v string) error {
	on, err := boolOf(v)
	*to = &on
	return err
}

var (
	trues  = []string{"true", "enable", "enabled", "on", "yes"}
	falses = []string{"false", "disable", "disabled", "off", "no"}
)

// boolOf accepts the spellings of go-ora and of a descriptor. Any other value is an error here;
// go-ora treats it as false.
func boolOf(v string) (bool, error) {
	v = strings.ToLower(v)
	if on := slices.Contains(trues, v); on || slices.Contains(falses, v) {
		return on, nil
	}
	return false, errors.New("it has to be true or false")
}

// parseTime reads a number of seconds, as go-ora does, or a number with a unit of a descriptor. 0
// means no limit.
func parseTime(v string) (time.Duration, error) {
	number := strings.TrimRight(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, ok := map[string]time.Duration{"": time.Second, "ms": time.Millisecond, "msec": time.Millisecond,
		"sec": time.Second, "s": time.Second, "min": time.Minute}[strings.ToLower(v[len(number):])]
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 24)
	if err != nil || !ok {
		return 0, errors.New("it has to be a number of seconds, or a number with ms or min")
	}
	return time.Duration(n) * unit, nil
}

// level reads a level of Oracle's own encryption or integrity.
func level(to *int, v string) error {
	switch strings.ToUpper(v) {
	case "ACCEPTED":
		*to = 0
	case "REJECTED":
		*to = 1
	case "REQUESTED":
		*to = 2
	case "REQUIRED":
		return errors.New("REQUIRED cannot be kept: go-ora would go on without it if the server said so; ask for TLS, or let the server require it")
	default:
		return errors.New("it has to be ACCEPTED, REJECTED or REQUESTED")
	}
	return nil
}

func privilege(s *settings, v string) error {
	if strings.EqualFold(v, "NONE") {
		return nil
	}
	if s.config.DBAPrivilege = configurations.DBAPrivilegeFromString(v); s.config.DBAPrivilege == configurations.NONE {
		return errors.New("it has to be SYSDBA, SYSOPER, SYSASM, SYSBACKUP, SYSDG, SYSKM, SYSRAC or NONE")
	}
	return nil
}

func protocol(s *settings, v string) error {
	if s.protocol = strings.ToLower(v); s.protocol != "tcp" && s.protocol != "tcps" {
		return errors.New("it has to be tcp or tcps")
	}
	return nil
}

func dbnameIs(s *settings, v string) error {
	if s.dbnameIs = strings.ToLower(v); s.dbnameIs != "service" && s.dbnameIs != "sid" {
		return errors.New("it has to be service or sid")
	}
	return nil
}

func lobFetch(s *settings, v string) error {
	switch strings.ToUpper(v) {
	case "PRE", "INLINE":
		s.config.Lob = configurations.INLINE
	case "POST", "STREAM":
		s.config.Lob = configurations.STREAM
	default:
		return errors.New("it has to be INLINE or STREAM")
	}
	return nil
}

func prefetch(s *settings, v string) error {
	s.config.PrefetchRows, _ = strconv.Atoi(v)
	return vocabulary.Number("a number from 1 to 65535", 1, math.MaxUint16)(v)
}

func location(s *settings, v string) error {
	if _, err := time.LoadLocation(v); v == "" || err != nil {
		return errors.New("no time zone of that name is installed") // the cause quotes the value
	}
	s.config.Location = v
	return nil
}

func serverType(s *settings, v string) error {
	switch s.serverType = strings.ToLower(v); s.serverType {
	case "dedicated", "shared", "pooled":
		return nil
	}
	return errors.New("it has to be dedicated, shared or pooled")
}

// setLanguage sets a name that go-ora writes between quotes into ALTER SESSION.
func setLanguage(to *string, v string) error {
	if strings.IndexFunc(v, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || r == ' ' || r == '_')
	}) >= 0 {
		return errors.New("it is not a name that Oracle has, such as AMERICAN")
	}
	*to = v
	return vocabulary.NotEmpty(v)
}

func setName(to *string, v string) error {
	*to = v
	return checkName(v)
}

// checkName checks the name of a service, a SID or an instance. The name must have no character
// that means something in a descriptor.
func checkName(v string) error {
	if v == "" || len(v) > 255 || strings.IndexFunc(v, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-$#", r))
	}) >= 0 {
		return errors.New(`it is not a name of letters, digits and "_.-$#"`)
	}
	return nil
}
