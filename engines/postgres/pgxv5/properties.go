package pgxv5

import (
	"errors"
	"strconv"
	"strings"
)

// A property is one of pgjdbc's.
type property struct {
	param     string                             // its counterpart
	translate func(value string) (string, error) // "" sets nothing; nil: the value stays
}

// properties are those that pgjdbc's PGProperty.java knows (42.7.14) and pgx does
// not by the same name. What makes no difference in Go sets nothing.
var properties = map[string]property{
	"ApplicationName":               {param: "application_name"},
	"currentSchema":                 {param: "search_path"},
	"connectTimeout":                {param: "connect_timeout"},
	"sslmode":                       {"sslmode", func(v string) (string, error) { return strings.ToLower(v), nil }},
	"sslNegotiation":                {param: "sslnegotiation"},
	"channelBinding":                {param: "channel_binding"},
	"requireAuth":                   {param: "require_auth"},
	"kerberosServerName":            {param: "krbsrvname"},
	"preparedStatementCacheQueries": {param: "statement_cache_capacity"},
	"targetServerType":              {"target_session_attrs", targetServerType},
	"readOnly":                      {"default_transaction_read_only", choose(map[string]string{"true": "on", "false": ""})},
	"preferQueryMode": {"default_query_exec_mode", choose(map[string]string{
		"simple": "simple_protocol", "extended": "", "extendedCacheEverything": "cache_statement"})},
	// pgx prepares a statement when it is first used. 0 is for connection poolers
	// that cannot keep prepared statements.
	"prepareThreshold": {"default_query_exec_mode", func(v string) (string, error) {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return "", errors.New("it has to be a number of executions")
		}
		if n == 0 {
			return "exec", nil
		}
		return "", nil
	}},

	"gssEncMode":         {"", choose(map[string]string{"disable": "", "allow": "", "prefer": ""})},
	"loadBalanceHosts":   {"", choose(map[string]string{"false": ""})},
	"protocolVersion":    {"", choose(map[string]string{"3": "", "3.0": ""})},
	"socketTimeout":      {"", noTimeout},
	"queryTimeout":       {"", noTimeout},
	"tcpKeepAlive":       {"", choose(map[string]string{"true": "", "false": ""})}, // Go has it on
	"tcpNoDelay":         {"", choose(map[string]string{"true": ""})},
	"loginTimeout":       {param: "connect_timeout"}, // for a hint of CheckParams
	"sslfactory":         {"", none("sslmode=require does without verification, driver.Options.TLS names authorities")},
	"sslfactoryarg":      {"", none("sslrootcert or driver.Options.TLS names authorities")},
	"socketFactory":      {"", none("Engine.Configure sets a dialer")},
	"localSocketAddress": {"", none("Engine.Configure sets a dialer")},

	"loggerFile":          {"", none("driver.Options.Logger takes a logger")},
	"loggerLevel":         {"", none("driver.Options.Logger takes a logger")},
	"sslhostnameverifier": {"", none("driver.Options.TLS has a ServerName")},
	"sslpasswordcallback": {"", none("driver.Options.TLS takes a certificate")},
	"PGDBNAME":            {"", none("the URL has a place for it")},
	"PGHOST":              {"", none("the URL has a place for it")},
	"PGPORT":              {"", none("the URL has a place for it")},
}

// withoutCounterpart are the rest of pgjdbc's properties.
var withoutCounterpart = strings.Fields(`
	adaptiveFetch adaptiveFetchMaximum adaptiveFetchMinimum allowEncodingChanges assumeMinServerVersion
	authenticationPluginClassName autosave binaryTransfer binaryTransferDisable binaryTransferEnable
	cancelSignalTimeout classLoaderStrategy cleanupSavepoints connectExecutor connectExecutorArg
	convertBooleanToNumeric databaseMetadataCacheFields databaseMetadataCacheFieldsMiB
	defaultRowFetchSize disableColumnSanitiser escapeSyntaxCallMode flushCacheOnDdl
	groupStartupParameters gsslib gssResponseTimeout gssUseDefaultCreds hideUnprivilegedObjects
	hostRecheckSeconds jaasApplicationName jaasLogin logServerErrorDetail logUnclosedConnections
	maxResultBuffer maxSendBufferSize preparedStatementCacheSizeMiB quoteReturningIdentifiers
	readOnlyMode receiveBufferSize reWriteBatchedInserts reWriteBatchedInsertsSize scramMaxIterations
	sendBufferSize sslResponseTimeout sspiServiceClass stringtype unknownLength useSpnego
	xmlFactoryFactory
`)

func none(hint string) func(string) (string, error) {
	return func(string) (string, error) {
		if hint == "" {
			return "", errors.New("it has no counterpart in pgx")
		}
		return "", errors.New("it has no counterpart in pgx; " + hint)
	}
}

// choose translates a fixed set of values.
func choose(values map[string]string) func(string) (string, error) {
	return func(v string) (string, error) {
		value, ok := values[v]
		if !ok {
			return "", errors.New("a value without a counterpart in pgx")
		}
		return value, nil
	}
}

func noTimeout(v string) (string, error) {
	if v != "0" {
		return "", errors.New("it has no counterpart in pgx; the context of a query ends it")
	}
	return "", nil
}

// targetServerType has master, slave and preferSlave as HostRequirement.java has
// them. pgjdbc tells a primary by transaction_read_only, as read-write does.
func targetServerType(v string) (string, error) {
	switch strings.NewReplacer("lave", "econdary", "master", "primary").Replace(v) {
	case "any":
		return "", nil
	case "primary":
		return "read-write", nil
	case "secondary":
		return "read-only", nil
	case "preferSecondary":
		return "prefer-standby", nil
	}
	return "", errors.New("a value without a counterpart in pgx; there are any, primary, secondary and preferSecondary")
}
