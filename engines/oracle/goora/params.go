package goora

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// settings are what the parameters say.
type settings struct {
	tls            *bool  // TLS is on or off; nil: not said
	protocol       string // "tcp" or "tcps" if it was said in that way
	verify         *bool
	wallet         string
	connectTimeout time.Duration // of the whole connect; 0: none
	dialTimeout    time.Duration // of one address; 0: none
	loadBalance    bool
	serverType     string // "dedicated", "shared", "pooled" or ""
	config         configurations.ConnectionConfig
}

// A rule sets what a parameter says. Its error follows the parameter's name and
// quotes no value.
type rule func(s *settings, value string) error

// rules are the parameters of ParseConfig in connect_config.go of go-ora v2.8.24, but
// for those in refused, and some of our own that Oracle's other clients have. Names
// are as canonical has them.
var rules = map[string]rule{
	"CONNECT TIMEOUT":           func(s *settings, v string) (err error) { s.connectTimeout, err = parseTime(v); return err },
	"DATA INTEGRITY":            func(s *settings, v string) error { return level(&s.config.IntServiceLevel, v) },
	"DBA PRIVILEGE":             privilege,
	"ENCRYPTION":                func(s *settings, v string) error { return level(&s.config.EncServiceLevel, v) },
	"INSTANCE NAME":             func(s *settings, v string) error { return setName(&s.config.InstanceName, v) },
	"LANGUAGE":                  func(s *settings, v string) error { return setLanguage(&s.config.Language, v) },
	"LOAD BALANCE":              func(s *settings, v string) (err error) { s.loadBalance, err = boolOf(v); return err },
	"LOB FETCH":                 lobFetch,
	"OS USER":                   func(s *settings, v string) error { s.config.OSUserName = v; return notEmpty(v) },
	"PREFETCH ROWS":             prefetch,
	"PROGRAM":                   func(s *settings, v string) error { s.config.ProgramName = v; return notEmpty(v) },
	"PROTOCOL":                  protocol,
	"PROXY CLIENT NAME":         func(s *settings, v string) error { s.config.ProxyClientName = v; return notEmpty(v) },
	"SERVER LOCATION":           location,
	"SERVER TYPE":               serverType,
	"SSL":                       func(s *settings, v string) error { return setBool(&s.tls, v) },
	"SSL VERIFY":                func(s *settings, v string) error { return setBool(&s.verify, v) },
	"TERRITORY":                 func(s *settings, v string) error { return setLanguage(&s.config.Territory, v) },
	"TIMEOUT":                   func(s *settings, v string) (err error) { s.config.Timeout, err = parseTime(v); return err },
	"TRANSPORT CONNECT TIMEOUT": func(s *settings, v string) (err error) { s.dialTimeout, err = parseTime(v); return err },
	"WALLET":                    func(s *settings, v string) error { s.wallet = v; return notEmpty(v) },
}

// refused are parameters that go-ora knows and we do not take, with the reason.
var refused = map[string]string{
	"AUTH SERV":                    "the user and the password of the secret are what logs in",
	"AUTH TYPE":                    "the user and the password of the secret are what logs in",
	"CHARSET":                      "set CharsetID in Engine.Configure",
	"CID":                          "it is text within the descriptor",
	"CLIENT CHARSET":               "set CharsetID in Engine.Configure",
	"CONNECTION TIMEOUT":           "it is not what its name says: give CONNECT TIMEOUT, or TIMEOUT for each read and write",
	"DOMAIN":                       "the user and the password of the secret are what logs in",
	"ENABLE OOB":                   "set EnableOOB in Engine.Configure",
	"ENABLE URGENT DATA TRANSPORT": "set EnableOOB in Engine.Configure",
	"FAILOVER":                     "go-ora has it no more",
	"OS HASH":                      "the user and the password of the secret are what logs in",
	"OS PASS":                      "the user and the password of the secret are what logs in",
	"OS PASSHASH":                  "the user and the password of the secret are what logs in",
	"OS PASSWORD":                  "the user and the password of the secret are what logs in",
	"OS PASSWORD HASH":             "the user and the password of the secret are what logs in",
	"RE TRY TIME":                  "go-ora has it no more",
	"RETRY TIME":                   "go-ora has it no more",
	"RETRYTIME":                    "go-ora has it no more",
	"TRACE DIR":                    "all that is sent would be in files; set TraceDir in Engine.Configure",
	"TRACE DIRECTORY":              "all that is sent would be in files; set TraceDir in Engine.Configure",
	"TRACE FILE":                   "all that is sent would be in a file; set TraceFilePath in Engine.Configure",
	"TRACE FOLDER":                 "all that is sent would be in files; set TraceDir in Engine.Configure",
	"UNIX SOCKET":                  "a connection goes to a host and a port",
	"USE OOB":                      "set EnableOOB in Engine.Configure",
	"WALLET PASSWORD":              "a wallet is opened without one, from its cwallet.sso",
}

// canonical is a parameter's name as the tables have it. go-ora's names are in any
// case and have spaces, for which "_" does as well.
func canonical(name string) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToUpper(name))
}

// CheckParams checks parameters.
func (e Engine) CheckParams(params map[string]string) error {
	_, err := parseParams(params)
	return err
}

func parseParams(params map[string]string) (*settings, error) {
	// What is not said is as in go-ora's ParseConfig.
	s := &settings{config: configurations.ConnectionConfig{
		ClientInfo:   configurations.ClientInfo{Language: "AMERICAN", Territory: "AMERICA"},
		SessionInfo:  configurations.SessionInfo{Timeout: 10 * time.Minute, SessionDataUnitSize: 2 << 20, TransportDataUnitSize: 2 << 20, SSLVerify: true},
		PrefetchRows: 25,
	}}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		key, value := canonical(name), params[name]
		if other, ok := seen[key]; ok {
			return nil, fmt.Errorf("parameters %q and %q are the same", other, name)
		}
		if reason, ok := refused[key]; ok {
			return nil, fmt.Errorf("parameter %q is not allowed: %s", name, reason)
		}
		set, ok := rules[key]
		if !ok {
			return nil, unknown(name)
		}
		seen[key] = name
		if strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
			return nil, fmt.Errorf("parameter %q: a control character", name)
		}
		if err := set(s, value); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", name, err)
		}
	}
	if s.protocol != "" {
		on := s.protocol == "tcps"
		if s.tls != nil && *s.tls != on {
			return nil, errors.New(`parameter "SSL" and the protocol (tcp has no TLS, tcps has) contradict each other`)
		}
		s.tls = &on
	}
	for _, name := range []string{"SSL VERIFY", "WALLET"} {
		if given, ok := seen[name]; ok && (s.tls == nil || !*s.tls) {
			return nil, fmt.Errorf("parameter %q needs SSL=true", given)
		}
	}
	return s, nil
}

// checkValue checks the value of a parameter by its canonical name; any other name it
// takes.
func checkValue(name, value string) error {
	if set, ok := rules[name]; ok {
		return set(&settings{}, value)
	}
	return nil
}

func unknown(name string) error {
	if !jdbcurl.IsName(strings.ReplaceAll(name, " ", "_")) {
		return errors.New("a parameter has a name that none has")
	}
	meant := ""
	if p, ok := properties[strings.ToLower(name)]; ok {
		meant = p.param
	}
	switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) {
	case "tls", "usessl", "sslmode", "encrypt":
		meant = "SSL"
	}
	if meant == "" {
		meant = jdbcurl.Suggest(strings.ReplaceAll(name, " ", "_"), underscored)
		meant = strings.ReplaceAll(meant, "_", " ")
	}
	if meant != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, meant)
	}
	return fmt.Errorf("parameter %q is not known", name)
}

// underscored are the names of parameters without spaces, which Suggest ignores then.
var underscored = func() []string {
	var names []string
	for name := range rules {
		names = append(names, strings.ReplaceAll(name, " ", "_"))
	}
	slices.Sort(names)
	return names
}()

func notEmpty(v string) error {
	if v == "" {
		return errors.New("it is empty")
	}
	return nil
}

func setBool(to **bool, v string) error {
	on, err := boolOf(v)
	*to = &on
	return err
}

// boolOf knows the spellings of go-ora and of a descriptor. To go-ora, what it does
// not know is false.
func boolOf(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "enable", "enabled", "on", "yes":
		return true, nil
	case "false", "disable", "disabled", "off", "no":
		return false, nil
	}
	return false, errors.New("it has to be true or false")
}

// parseTime reads seconds, as go-ora has them, also with the units of a descriptor. 0 is
// none.
func parseTime(v string) (time.Duration, error) {
	number := strings.TrimRight(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, ok := map[string]time.Duration{"": time.Second, "ms": time.Millisecond, "msec": time.Millisecond,
		"sec": time.Second, "s": time.Second, "min": time.Minute}[strings.ToLower(v[len(number):])]
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 24)
	if err != nil || !ok {
		return 0, errors.New("it has to be a number of seconds; ms or min may follow")
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
		return errors.New("REQUIRED is not allowed: go-ora would go on without if the server said so; ask for TLS, or let the server require it")
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
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return errors.New("it has to be a number from 1 to 65535")
	}
	s.config.PrefetchRows = int(n)
	return nil
}

func location(s *settings, v string) error {
	if _, err := time.LoadLocation(v); v == "" || err != nil {
		return errors.New("no time zone of that name is installed") // the cause quotes it
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

// setLanguage takes what go-ora writes into ALTER SESSION between quotes.
func setLanguage(to *string, v string) error {
	if strings.IndexFunc(v, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || r == ' ' || r == '_')
	}) >= 0 {
		return errors.New("it is not a name of Oracle's, as AMERICAN is")
	}
	*to = v
	return notEmpty(v)
}

func setName(to *string, v string) error {
	*to = v
	return checkName(v)
}

// checkName checks the name of a service, a SID or an instance: nothing in which a
// descriptor sees anything else.
func checkName(v string) error {
	if v == "" || len(v) > 255 || strings.IndexFunc(v, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-$#", r))
	}) >= 0 {
		return errors.New(`it is not a name of letters, digits and "_.-$#"`)
	}
	return nil
}
