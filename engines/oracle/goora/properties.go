package goora

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// A property is one of Oracle's JDBC driver or of a descriptor.
type property struct {
	param     string                             // go-ora's parameter, or ours
	translate func(value string) (string, error) // nil: as it is; "" sets nothing
}

// properties are by their names in lower case, for a descriptor's are in any case.
// Those of the JDBC driver are in
// https://docs.oracle.com/en/database/oracle/oracle-database/23/jajdb/oracle/jdbc/OracleConnection.html,
// those of a descriptor in
// https://docs.oracle.com/en/database/oracle/oracle-database/23/netrf/local-naming-parameters-in-tns-ora-file.html
var properties = map[string]property{
	// JDBC
	"defaultrowprefetch":                   {"PREFETCH ROWS", nil},
	"internal_logon":                       {"DBA PRIVILEGE", nil},
	"logintimeout":                         {"CONNECT TIMEOUT", nil},
	"oracle.jdbc.defaultrowprefetch":       {"PREFETCH ROWS", nil},
	"oracle.jdbc.internal_logon":           {"DBA PRIVILEGE", nil},
	"oracle.jdbc.logintimeout":             {"CONNECT TIMEOUT", nil},
	"oracle.jdbc.proxyclientname":          {"PROXY CLIENT NAME", nil},
	"oracle.jdbc.readtimeout":              {"TIMEOUT", milliseconds},
	"oracle.jdbc.tcpnodelay":               {"", only(true, "")}, // Go's default
	"oracle.jdbc.timezoneasregion":         {"", only(false, "the session has the offset of the local zone")},
	"oracle.net.connect_timeout":           {"CONNECT TIMEOUT", milliseconds},
	"oracle.net.crypto_checksum_client":    {"DATA INTEGRITY", nil},
	"oracle.net.disableoob":                {"", only(true, "set EnableOOB in Engine.Configure")},
	"oracle.net.encryption_client":         {"ENCRYPTION", nil},
	"oracle.net.keepalive":                 {"", only(true, "set a Dialer in Engine.Configure")}, // Go's default
	"oracle.net.networkcompression":        {"", only(false, "")},
	"oracle.net.outbound_connect_timeout":  {"TRANSPORT CONNECT TIMEOUT", milliseconds},
	"oracle.net.read_timeout":              {"TIMEOUT", milliseconds},
	"oracle.net.ssl_server_cert_dn":        {"", none("; the name in the certificate is the host's, or that of driver.Options.TLS")},
	"oracle.net.ssl_server_dn_match":       {"", dnMatch},
	"oracle.net.ssl_version":               {"", none("; set driver.Options.TLS")},
	"oracle.net.ssl_cipher_suites":         {"", none("; set driver.Options.TLS")},
	"oracle.net.tns_admin":                 {"", none("; names of tnsnames.ora are not looked up")},
	"oracle.net.transport_connect_timeout": {"TRANSPORT CONNECT TIMEOUT", milliseconds},
	"oracle.net.wallet_location":           {"WALLET", walletLocation},
	"oracle.net.wallet_password":           {"", none("; a wallet is opened without one, from its cwallet.sso")},
	"tns_admin":                            {"", none("; names of tnsnames.ora are not looked up")},
	"v$session.osuser":                     {"OS USER", nil},
	"v$session.program":                    {"PROGRAM", nil},

	// Descriptors, and the query of a URL
	"connect_timeout":           {"CONNECT TIMEOUT", nil},
	"enable":                    {"", enable},
	"expire_time":               {"", number}, // Go has probes of its own
	"failover":                  {"", only(true, "the hosts are tried until one accepts the connection")},
	"load_balance":              {"LOAD BALANCE", nil},
	"my_wallet_directory":       {"WALLET", walletLocation},
	"retry_count":               {"", number}, // a pool's next connect is the next try
	"retry_delay":               {"", number},
	"sdu":                       {"", number}, // a wish
	"source_route":              {"", only(false, "")},
	"ssl_server_cert_dn":        {"", none("; the name in the certificate is the host's, or that of driver.Options.TLS")},
	"ssl_server_dn_match":       {"", dnMatch},
	"transport_connect_timeout": {"TRANSPORT CONNECT TIMEOUT", nil},
	"wallet_location":           {"WALLET", walletLocation},
}

// families are how names begin of which all others have no counterpart, with a hint.
var families = map[string]string{
	"oracle.":        "",
	"javax.net.ssl.": "; set driver.Options.TLS",
	"v$session.":     "; set it in Engine.Configure",
}

func none(hint string) func(string) (string, error) {
	return func(string) (string, error) {
		return "", errors.New("it has no counterpart in go-ora" + hint)
	}
}

// only takes the value that go-ora cannot be told to change.
func only(value bool, hint string) func(string) (string, error) {
	return func(v string) (string, error) {
		on, err := boolOf(v)
		if err == nil && on != value {
			err = errors.New("that has no counterpart in go-ora")
			if hint != "" {
				err = errors.New("that has no counterpart in go-ora; " + hint)
			}
		}
		return "", err
	}
}

// dnMatch takes what says whether the name in a certificate is to be checked. It
// always is.
func dnMatch(v string) (string, error) {
	_, err := boolOf(v)
	return "", err
}

func enable(v string) (string, error) {
	if !strings.EqualFold(v, "broken") {
		return "", errors.New("it has to be broken")
	}
	return "", nil // Go has keep-alive on
}

func number(v string) (string, error) {
	if _, err := strconv.ParseUint(v, 10, 31); err != nil {
		return "", errors.New("it has to be a number")
	}
	return "", nil
}

// milliseconds translates a time, in which 0 is none.
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

// walletLocation takes a folder, "file:" and a folder, or
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
