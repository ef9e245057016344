package goora

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// CheckParams checks parameters. They are the parameters of go-ora, in upper or lower case, with a
// space, "_" or "-" between words.
func (e Engine) CheckParams(params map[string]string) error {
	_, err := readSettings(params)
	return err
}

// words has the names that go-ora, Oracle's JDBC driver and descriptors use.
var words = &vocabulary.Vocabulary{
	Vendor:        "go-ora",
	Params:        params(),
	Refused:       refused,
	Meant:         map[string]string{"tls": "SSL", "usessl": "SSL", "sslmode": "SSL", "encrypt": "SSL"},
	Fold:          canonical,
	Properties:    properties,
	AnyCase:       true,
	AnyCaseValues: true,
	Absent:        "oracle.*",
}

// setters are the parameters of ParseConfig in connect_config.go of go-ora v2.8.24, without those
// in refused, and some of our own that other clients of Oracle have. The names have the form of
// canonical. Each func sets what the parameter says. Its error says what is wrong with the value
// and does not quote the value.
var setters = map[string]func(s *settings, value string) error{
	"CONNECT TIMEOUT":           func(s *settings, v string) (err error) { s.connectTimeout, err = parseTime(v); return err },
	"DATA INTEGRITY":            func(s *settings, v string) error { return level(&s.config.IntServiceLevel, v) },
	"DBA PRIVILEGE":             privilege,
	"DBNAME IS":                 dbnameIs,
	"ENCRYPTION":                func(s *settings, v string) error { return level(&s.config.EncServiceLevel, v) },
	"INSTANCE NAME":             func(s *settings, v string) error { return setName(&s.config.InstanceName, v) },
	"LANGUAGE":                  func(s *settings, v string) error { return setLanguage(&s.config.Language, v) },
	"LOAD BALANCE":              func(s *settings, v string) (err error) { s.loadBalance, err = boolOf(v); return err },
	"LOB FETCH":                 lobFetch,
	"OS USER":                   func(s *settings, v string) error { s.config.OSUserName = v; return vocabulary.NotEmpty(v) },
	"PREFETCH ROWS":             prefetch,
	"PROGRAM":                   func(s *settings, v string) error { s.config.ProgramName = v; return vocabulary.NotEmpty(v) },
	"PROTOCOL":                  protocol,
	"PROXY CLIENT NAME":         func(s *settings, v string) error { s.config.ProxyClientName = v; return vocabulary.NotEmpty(v) },
	"SERVER LOCATION":           location,
	"SERVER TYPE":               serverType,
	"SSL":                       func(s *settings, v string) error { return setBool(&s.tls, v) },
	"SSL VERIFY":                func(s *settings, v string) error { return setBool(&s.verify, v) },
	"TERRITORY":                 func(s *settings, v string) error { return setLanguage(&s.config.Territory, v) },
	"TIMEOUT":                   func(s *settings, v string) (err error) { s.config.Timeout, err = parseTime(v); return err },
	"TRANSPORT CONNECT TIMEOUT": func(s *settings, v string) (err error) { s.dialTimeout, err = parseTime(v); return err },
	"WALLET":                    func(s *settings, v string) error { s.wallet = v; return vocabulary.NotEmpty(v) },
}

// params returns the parameters of setters. Each setter also checks its value.
func params() map[string]vocabulary.Param {
	params := map[string]vocabulary.Param{}
	for name, set := range setters {
		params[name] = vocabulary.Param{Check: func(v string) error {
			if strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
				return errors.New("a control character")
			}
			return set(&settings{}, v)
		}}
	}
	return params
}

const (
	secretLogsIn = "the login uses the user and the password of the secret"
	setOOB       = "set EnableOOB in Engine.Configure"
	setTraceDir  = "a trace has everything that is sent: set TraceDir in Engine.Configure if you want that"
	setTLS       = "set driver.Options.TLS"
	nameInTLS    = "the certificate has to be for the host: set ServerName in driver.Options.TLS for another name"
	noTNSNames   = "names of tnsnames.ora are not looked up"
	noPassword   = "the wallet is read from its cwallet.sso, which needs no password"
)

// refused are parameters of go-ora that are an error here, with the reason.
var refused = map[string]string{
	"AUTH SERV":                    secretLogsIn,
	"AUTH TYPE":                    secretLogsIn,
	"CHARSET":                      "set CharsetID in Engine.Configure",
	"CID":                          "it is a part of the descriptor, which is written here",
	"CLIENT CHARSET":               "set CharsetID in Engine.Configure",
	"CONNECTION TIMEOUT":           "it does not do what its name says: give CONNECT TIMEOUT, or TIMEOUT for each read and write",
	"DOMAIN":                       secretLogsIn,
	"ENABLE OOB":                   setOOB,
	"ENABLE URGENT DATA TRANSPORT": setOOB,
	"FAILOVER":                     "go-ora does not have it any more",
	"OS HASH":                      secretLogsIn,
	"OS PASS":                      secretLogsIn,
	"OS PASSHASH":                  secretLogsIn,
	"OS PASSWORD":                  secretLogsIn,
	"OS PASSWORD HASH":             secretLogsIn,
	"RE TRY TIME":                  "go-ora does not have it any more",
	"RETRY TIME":                   "go-ora does not have it any more",
	"RETRYTIME":                    "go-ora does not have it any more",
	"TRACE DIR":                    setTraceDir,
	"TRACE DIRECTORY":              setTraceDir,
	"TRACE FILE":                   "a trace has everything that is sent: set TraceFilePath in Engine.Configure if you want that",
	"TRACE FOLDER":                 setTraceDir,
	"UNIX SOCKET":                  "give a host and a port",
	"USE OOB":                      setOOB,
	"WALLET PASSWORD":              noPassword,
}

// canonical returns the name of a parameter in the form of the tables. go-ora accepts names in
// upper and lower case, with spaces or "_".
func canonical(name string) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToUpper(name))
}

// properties has names in lower case, because the names in a descriptor may be in any case.
// ssl_server_dn_match says whether the name in a certificate is checked. Here it always is.
//
// The properties of the JDBC driver are in
// https://docs.oracle.com/en/database/oracle/oracle-database/23/jajdb/oracle/jdbc/OracleConnection.html,
// and those of a descriptor in
// https://docs.oracle.com/en/database/oracle/oracle-database/23/netrf/local-naming-parameters-in-tns-ora-file.html
var properties = map[string]vocabulary.Property{
	// JDBC. All other names that begin with "oracle." have no counterpart.
	"defaultrowprefetch":                     {Param: "PREFETCH ROWS"},
	"internal_logon":                         {Param: "DBA PRIVILEGE"},
	"logintimeout":                           {Param: "CONNECT TIMEOUT"},
	"oracle.jdbc.autocommitspeccompliant":    anyBool, // this one and the next ones are only about Java
	"oracle.jdbc.fanenabled":                 vocabulary.Only("", falses...),
	"oracle.jdbc.implicitstatementcachesize": anyNumber,
	"oracle.jdbc.j2ee13compliant":            anyBool,
	"oracle.jdbc.javanetnio":                 anyBool,
	"oracle.jdbc.maxcachedbuffersize":        anyNumber,
	"oracle.jdbc.usethreadlocalbuffercache":  anyBool,
	"oracle.jdbc.defaultrowprefetch":         {Param: "PREFETCH ROWS"},
	"oracle.jdbc.internal_logon":             {Param: "DBA PRIVILEGE"},
	"oracle.jdbc.logintimeout":               {Param: "CONNECT TIMEOUT"},
	"oracle.jdbc.proxyclientname":            {Param: "PROXY CLIENT NAME"},
	"oracle.jdbc.readtimeout":                {Param: "TIMEOUT", Translate: milliseconds},
	"oracle.jdbc.tcpnodelay":                 vocabulary.Only("", trues...), // the default of Go
	"oracle.jdbc.timezoneasregion":           vocabulary.Only("the session has the offset of the local zone", falses...),
	"oracle.net.connect_timeout":             {Param: "CONNECT TIMEOUT", Translate: milliseconds},
	"oracle.net.crypto_checksum_client":      {Param: "DATA INTEGRITY"},
	"oracle.net.disableoob":                  vocabulary.Only(setOOB, trues...),
	"oracle.net.encryption_client":           {Param: "ENCRYPTION"},
	"oracle.net.keepalive":                   vocabulary.Only("set a Dialer in Engine.Configure", trues...), // the default of Go
	"oracle.net.networkcompression":          vocabulary.Only("", falses...),
	"oracle.net.outbound_connect_timeout":    {Param: "TRANSPORT CONNECT TIMEOUT", Translate: milliseconds},
	"oracle.net.read_timeout":                {Param: "TIMEOUT", Translate: milliseconds},
	"oracle.net.ssl_server_cert_dn":          vocabulary.None(nameInTLS),
	"oracle.net.ssl_server_dn_match":         anyBool,
	"oracle.net.ssl_version":                 vocabulary.None(setTLS),
	"oracle.net.ssl_cipher_suites":           vocabulary.None(setTLS),
	"oracle.net.tns_admin":                   vocabulary.None(noTNSNames),
	"oracle.net.transport_connect_timeout":   {Param: "TRANSPORT CONNECT TIMEOUT", Translate: milliseconds},
	"oracle.net.wallet_location":             {Param: "WALLET", Translate: walletLocation},
	"oracle.net.wallet_password":             vocabulary.None(noPassword),
	"tns_admin":                              vocabulary.None(noTNSNames),
	"javax.net.ssl.*":                        vocabulary.None(setTLS),
	"v$session.*":                            vocabulary.None("set it in Engine.Configure"),
	"v$session.osuser":                       {Param: "OS USER"},
	"v$session.program":                      {Param: "PROGRAM"},

	// Descriptors, and the query of a URL
	"connect_timeout":           {Param: "CONNECT TIMEOUT"},
	"enable":                    vocabulary.Only("broken is the only value", "broken"), // Go has keep-alive on by default
	"expire_time":               anyNumber,                                             // Go sends probes of its own
	"failover":                  vocabulary.Only("the hosts are tried until one accepts the connection", trues...),
	"load_balance":              {Param: "LOAD BALANCE"},
	"my_wallet_directory":       {Param: "WALLET", Translate: walletLocation},
	"retry_count":               anyNumber, // the pool's next connection attempt is the next try
	"retry_delay":               anyNumber,
	"sdu":                       anyNumber, // the server need not follow it
	"source_route":              vocabulary.Only("", falses...),
	"ssl_server_cert_dn":        vocabulary.None(nameInTLS),
	"ssl_server_dn_match":       anyBool,
	"transport_connect_timeout": {Param: "TRANSPORT CONNECT TIMEOUT"},
	"wallet_location":           {Param: "WALLET", Translate: walletLocation},
}

// Properties whose value makes no difference in Go.
var (
	anyBool   = vocabulary.NoEffect(isBool)
	anyNumber = vocabulary.NoEffect(vocabulary.Number("a number", 0, math.MaxInt32))
)

func isBool(v string) error {
	_, err := boolOf(v)
	return err
}

// milliseconds translates a time limit. 0 means none.
func milliseconds(v string) (string, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return "", errors.New("it has to be a number of milliseconds")
	}
	if d := time.Duration(n) * time.Millisecond; d%time.Second == 0 {
		return strconv.FormatUint(n/1000, 10), nil
	}
	return v + "ms", nil
}

// walletLocation accepts a folder, "file:" and a folder, or
// (SOURCE=(METHOD=FILE)(METHOD_DATA=(DIRECTORY=…))).
func walletLocation(v string) (string, error) {
	if strings.HasPrefix(v, "(") {
		n, rest, ok := parseNode(v, 0)
		if !ok || strings.TrimSpace(rest) != "" {
			return "", errors.New("it is not a folder")
		}
		v = walletFolder(n)
	}
	v = strings.TrimPrefix(v, "file:")
	if v == "" || strings.EqualFold(v, "system") {
		return "", errors.New("it is not a folder")
	}
	return v, nil
}
