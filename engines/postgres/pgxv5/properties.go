package pgxv5

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// properties are the properties in PGProperty.java of pgjdbc 42.7.14 that pgx does not have under
// the same name. A property that makes no difference in Go sets nothing.
var properties = map[string]vocabulary.Property{
	"ApplicationName":    {Param: "application_name"},
	"currentSchema":      {Param: "search_path"},
	"connectTimeout":     {Param: "connect_timeout"},
	"sslmode":            {Param: "sslmode", Translate: func(v string) (string, error) { return strings.ToLower(v), nil }},
	"sslNegotiation":     {Param: "sslnegotiation"},
	"channelBinding":     {Param: "channel_binding"},
	"requireAuth":        {Param: "require_auth"},
	"kerberosServerName": {Param: "krbsrvname"},
	"targetServerType":   {Param: "target_session_attrs", Translate: targetServerType},
	"readOnly":           vocabulary.Choose("default_transaction_read_only", "true", "on", "false", ""),

	"preferQueryMode":               {Param: execMode, Apply: noteMode(preferQueryMode)},
	"prepareThreshold":              {Param: execMode, Apply: noteMode(prepareThreshold)},
	"preparedStatementCacheQueries": {Param: "statement_cache_capacity", Apply: cacheQueries},

	"databaseName": {Apply: databaseName}, // a property of pgjdbc's data sources
	"ssl":          {Apply: ssl, Bare: true},
	"loginTimeout": {Param: "connect_timeout", Apply: loginTimeout},

	"gssEncMode":       vocabulary.Only("", "disable", "allow", "prefer"),
	"loadBalanceHosts": vocabulary.Only("", "false"),
	"protocolVersion":  vocabulary.Only("", "3", "3.0"),
	"socketTimeout":    vocabulary.Only("give queries a context with a deadline", "0"),
	"queryTimeout":     vocabulary.Only("give queries a context with a deadline", "0"),
	"tcpKeepAlive":     vocabulary.Only("", "true", "false"), // Go has keep-alive on by default
	"tcpNoDelay":       vocabulary.Only("", "true"),

	// Performance and caching.
	"adaptiveFetch":                  vocabulary.Only("", "true", "false"),
	"adaptiveFetchMaximum":           size,
	"adaptiveFetchMinimum":           size,
	"assumeMinServerVersion":         vocabulary.NoEffect(vocabulary.NotEmpty),
	"databaseMetadataCacheFields":    size,
	"databaseMetadataCacheFieldsMiB": size,
	"defaultRowFetchSize":            size,
	"disableColumnSanitiser":         vocabulary.Only("", "true", "false"),
	"hostRecheckSeconds":             size,
	"preparedStatementCacheSizeMiB":  size,
	"receiveBufferSize":              size,
	"reWriteBatchedInserts":          vocabulary.Only("", "true", "false"), // Go has no batches such as JDBC's
	"reWriteBatchedInsertsSize":      size,
	"sendBufferSize":                 size,

	// pgx lets the server infer the types of parameters. The server then accepts more than it does
	// for varchar, pgjdbc's default.
	"stringtype": vocabulary.Only("", "unspecified", "varchar"),

	// Values that ask for pgjdbc's default, or for what pgx does anyway.
	"allowEncodingChanges":      vocabulary.Only("pgx needs UTF8", "false"),
	"autosave":                  vocabulary.Only("", "never"),
	"binaryTransfer":            vocabulary.Only("default_query_exec_mode decides", "true"),
	"cleanupSavepoints":         vocabulary.Only("", "false"),
	"convertBooleanToNumeric":   vocabulary.Only("", "false"),
	"escapeSyntaxCallMode":      vocabulary.Only("", "select"),
	"hideUnprivilegedObjects":   vocabulary.Only("", "false"),
	"logServerErrorDetail":      vocabulary.Only("the detail is in a field of the error, not in its text", "true"),
	"logUnclosedConnections":    vocabulary.Only("", "false"),
	"loggerLevel":               vocabulary.Only("set a logger in driver.Options.Logger", "OFF"),
	"quoteReturningIdentifiers": vocabulary.Only("", "true"),
	"readOnlyMode":              vocabulary.Only("", "transaction"),

	"sslfactory":         vocabulary.None("give sslmode=require for TLS without verification, or certificate authorities in driver.Options.TLS"),
	"sslfactoryarg":      vocabulary.None("give certificate authorities by sslrootcert or in driver.Options.TLS"),
	"socketFactory":      vocabulary.None("set a dialer in Engine.Configure"),
	"localSocketAddress": vocabulary.None("set a dialer in Engine.Configure"),

	"loggerFile":          vocabulary.None("set a logger in driver.Options.Logger"),
	"sslhostnameverifier": vocabulary.None("set ServerName in driver.Options.TLS"),
	"sslpasswordcallback": vocabulary.None("give the certificate in driver.Options.TLS"),
	"PGDBNAME":            vocabulary.None("give it in the URL's own place"),
	"PGHOST":              vocabulary.None("give it in the URL's own place"),
	"PGPORT":              vocabulary.None("give it in the URL's own place"),
}

// absent are all other properties of pgjdbc. They have no counterpart in pgx.
const absent = `
	authenticationPluginClassName binaryTransferDisable binaryTransferEnable
	cancelSignalTimeout classLoaderStrategy connectExecutor connectExecutorArg
	flushCacheOnDdl
	groupStartupParameters gsslib gssResponseTimeout gssUseDefaultCreds
	jaasApplicationName jaasLogin
	maxResultBuffer maxSendBufferSize
	scramMaxIterations
	sslResponseTimeout sspiServiceClass unknownLength useSpnego
	xmlFactoryFactory
`

// size is a number of bytes, rows, statements or seconds that changes only the speed. -1 means the
// default of the system.
var size = vocabulary.NoEffect(vocabulary.Number("a number", -1, math.MaxInt32))

const execMode = "default_query_exec_mode"

// targetServerType also accepts master, slave and preferSlave, as HostRequirement.java does. pgjdbc
// recognizes a primary by transaction_read_only, as read-write does.
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
	return "", errors.New("a value without a counterpart in pgx: give any, primary, secondary or preferSecondary")
}

// noteMode is for the properties that together decide how queries are sent. setMode decides.
func noteMode(translate func(string) (string, error)) func(*vocabulary.Translation, vocabulary.Pair) error {
	return func(t *vocabulary.Translation, p vocabulary.Pair) error {
		mode, err := translate(p.Value)
		if err != nil {
			return fmt.Errorf("property %q: %w", p.Name, err)
		}
		t.Notes[p.Name] = mode
		return nil
	}
}

// setMode sets the query mode. If several properties ask for one, it is the mode that pgjdbc would
// use: simple never prepares, and a statement that is not prepared is not cached either.
func setMode(t *vocabulary.Translation) error {
	modes := []string{"", "cache_statement", "exec", "simple_protocol"}
	rank, by := 0, ""
	for _, name := range []string{"preferQueryMode", "prepareThreshold", "preparedStatementCacheQueries"} {
		if r := slices.Index(modes, t.Notes[name]); r > rank {
			rank, by = r, name
		}
		delete(t.Notes, name)
	}
	if rank == 0 {
		return nil
	}
	return t.Set(by, execMode, modes[rank])
}

func preferQueryMode(v string) (string, error) {
	switch v {
	case "simple":
		return "simple_protocol", nil
	case "extended":
		return "", nil
	case "extendedCacheEverything":
		return "cache_statement", nil
	}
	return "", errors.New("a value without a counterpart in pgx")
}

// cacheQueries is the number of statements that stay prepared. Zero becomes the mode exec, because
// pgx fails every query with a cache of capacity 0.
func cacheQueries(t *vocabulary.Translation, p vocabulary.Pair) error {
	const capacity = "statement_cache_capacity"
	if err := statements(p.Value); err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	if isZero(p.Value) {
		t.Notes[p.Name] = "exec"
		return nil
	}
	return t.Set(p.Name, capacity, p.Value)
}

// prepareThreshold is how often a statement is used before it is prepared. pgx prepares at the
// first use. 0 never prepares, for connection poolers that cannot keep prepared statements.
func prepareThreshold(v string) (string, error) {
	n, err := strconv.Atoi(v)
	switch {
	case err != nil || n < 0:
		return "", errors.New("it has to be a number of executions")
	case n == 0:
		return "exec", nil
	}
	return "", nil
}

func databaseName(t *vocabulary.Translation, p vocabulary.Pair) error {
	if t.Database != "" {
		return errors.New(`property "databaseName": the URL has a database already`)
	}
	t.Database = p.Value
	return nil
}

// ssl requires TLS for "any non-null value", pgjdbc's documentation says. In fact true and the
// empty value mean verify-full if there is no sslmode, and all other values mean prefer.
func ssl(t *vocabulary.Translation, p vocabulary.Pair) error {
	switch strings.ToLower(p.Value) {
	case "", "true":
		t.Notes["sslmode"] = "verify-full"
	case "false":
	default:
		return errors.New(`property "ssl": it has to be true or false`)
	}
	return nil
}

func loginTimeout(t *vocabulary.Translation, p vocabulary.Pair) error {
	if err := seconds(p.Value); err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	if !isZero(p.Value) { // 0 means none
		t.Notes["connect_timeout"] = p.Value
	}
	return nil
}

// finish settles what depends on two properties. sslmode takes precedence over ssl, and
// loginTimeout over connectTimeout: pgx's connect_timeout is for the whole login, as loginTimeout
// is, while connectTimeout of pgjdbc is only for the dial.
func finish(t *vocabulary.Translation) error {
	if err := setMode(t); err != nil {
		return err
	}
	if _, ok := t.Params["sslmode"]; ok {
		delete(t.Notes, "sslmode")
	}
	maps.Copy(t.Params, t.Notes)
	return nil
}
