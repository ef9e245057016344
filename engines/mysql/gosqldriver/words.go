package gosqldriver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// CheckParams checks parameters: those of go-sql-driver/mysql, the server's system
// variables, case ignored as the server does, and a user's own (with "@"). As with that
// driver alone, the value of a variable is SQL: a string has quotes. A variable is not
// looked up, unless its name may be a mistake for a parameter or about TLS or the login: a
// mistyped TLS=true must not go to the server.
func (e Engine) CheckParams(params map[string]string) error { return words(e.MariaDB).Check(params) }

// ParseURL parses a URL as MySQL's JDBC driver, Connector/J, or MariaDB's has it:
//
//	mysql://host:port/database?user=<secret id>&name=value
//
// All but the user may be missing. Values and the database are percent-decoded; "+"
// is itself, unlike in Connector/J. The forms mysql:loadbalance:, mariadb:sequential:,
// mariadb:aurora: and the like mean their host if they have one. Lists of hosts are
// refused: one login attempt sends one login, and a list would send more.
//
// A property is one of the JDBC driver's, and then translated, or go-sql-driver's
// parameter or a variable of the session under its own name. One of the JDBC
// driver's without a counterpart is an error.
func (e Engine) ParseURL(raw string, own func(property string) bool) (driver.URL, error) {
	raw = withoutMode(raw)
	switch {
	case !jdbcurl.Split(raw).HasAuthority:
		return driver.URL{}, fmt.Errorf("the URL is not of the form %s://host:port/database", e.Info().Name)
	case strings.ContainsRune(raw, '#'):
		return driver.URL{}, errors.New(`the URL has a "#"; write "%23" for it`) // Connector/J drops what follows
	}
	return words(e.MariaDB).ParseURL(raw, own)
}

// withoutMode drops what Connector/J and MariaDB's driver have before "//" to say how they choose
// among several hosts.
func withoutMode(raw string) string {
	scheme, rest, _ := strings.Cut(raw, ":")
	mode, rest, ok := strings.Cut(rest, ":")
	if ok && slices.Contains([]string{"aurora", "load-balance-read", "loadbalance", "replication", "sequential"}, mode) {
		return scheme + ":" + rest
	}
	return raw
}

// words returns what go-sql-driver/mysql, the JDBC driver and the server call things.
func words(mariaDB bool) *vocabulary.Vocabulary {
	if mariaDB {
		return mariaDBWords
	}
	return mySQLWords
}

var mySQLWords, mariaDBWords = newWords(finishMySQL), newWords(finishMariaDB)

func newWords(finish func(*vocabulary.Translation) error) *vocabulary.Vocabulary {
	return &vocabulary.Vocabulary{
		Vendor:     "go-sql-driver/mysql",
		Params:     params,
		Refused:    refused,
		Meant:      meant,
		Server:     &vocabulary.Settings{Check: checkVariable, Harmless: harmless},
		Together:   checkTogether,
		Properties: properties,
		Absent:     absent,
		Hosts:      parseAuthority,
		Finish:     finish,
	}
}

var (
	boolean  = vocabulary.Param{Check: vocabulary.Match("true or false", isBool)}
	duration = vocabulary.Param{Check: vocabulary.Match("a duration as 30s or 1m is", isDuration)}
	notEmpty = vocabulary.Param{Check: vocabulary.NotEmpty}
)

// params are the parameters of parseDSNParams in dsn.go of go-sql-driver/mysql
// v1.10.1, but for those in refused, and those in tls.go. Everything else is a variable of
// the session to that driver.
var params = map[string]vocabulary.Param{
	"allowCleartextPasswords": boolean,
	"allowNativePasswords":    boolean,
	"charset":                 {Check: vocabulary.Match("a list of character sets", func(v string) bool { return isWords(v, ',') })},
	"checkConnLiveness":       boolean,
	"clientFoundRows":         boolean,
	"collation":               {Check: vocabulary.Match("a collation", func(v string) bool { return isWords(v, 0) })},
	"columnsWithAlias":        boolean,
	"compress":                boolean,
	"connectionAttributes":    notEmpty,
	"interpolateParams":       boolean,
	"loc":                     notEmpty,
	"maxAllowedPacket":        {Check: vocabulary.Number("a number of bytes", 0, math.MaxInt32)},
	"multiStatements":         boolean,
	"parseTime":               boolean,
	"readTimeout":             duration,
	"rejectReadOnly":          boolean,
	"serverPubKey":            notEmpty,
	"timeTruncate":            duration,
	"timeout":                 duration,
	"tls":                     notEmpty,
	"writeTimeout":            duration,

	paramCA:   {File: true},
	paramCert: {File: true},
	paramKey:  {File: true},
}

// refused are parameters that the driver knows and we do not take, with the reason.
var refused = map[string]string{
	"allowAllFiles":            "any server may then ask for any file; name files with mysql.RegisterLocalFile, or set it in Engine.Configure",
	"allowFallbackToPlaintext": "tls=preferred says so",
	"allowOldPasswords":        "a password is easily had from what it sends; use mysql_native_password or caching_sha2_password",
	"strict":                   "go-sql-driver/mysql has it no more; set sql_mode",
}

// meant are what people write for a parameter or variable.
var meant = map[string]string{
	"ssl":                  "tls",
	"sslca":                paramCA,
	"sslcapath":            paramCA,
	"sslcert":              paramCert,
	"sslkey":               paramKey,
	"sslrootcert":          paramCA,
	"tsl":                  "tls",
	"timezone":             "time_zone",
	"transactionisolation": "transaction_isolation",
}

// harmless are variables that look like a mistake for a parameter or property, or as if
// they were about TLS: a user's own, and those that a session of MySQL, MariaDB or one of
// their storage engines may change.
var harmless = []string{
	"@*",
	"block_encryption_mode",
	"character_set_results",
	"default_table_encryption",
	"innodb_default_encryption_key_id",
	"rocksdb_verify_row_debug_checksums",
	"sql_mode",
	"tcp_nodelay",
	"time_zone",
	"transaction_isolation",
}

func parseAuthority(s string) (host string, port int, err error) {
	switch {
	case strings.Contains(s, "("):
		return "", 0, errors.New("the URL has a list of properties for a host; it takes host:port")
	case strings.Contains(s, ","):
		return "", 0, errors.New("the URL has more than one host, and a login goes to one: give the endpoint of the cluster or of a proxy")
	}
	return jdbcurl.SplitHostPort(s)
}

// parseBool is readBool of go-sql-driver/mysql.
func parseBool(s string) (value, ok bool) {
	switch s {
	case "1", "true", "TRUE", "True":
		return true, true
	case "0", "false", "FALSE", "False":
		return false, true
	}
	return false, false
}

func isBool(v string) bool {
	_, ok := parseBool(v)
	return ok
}

func isDuration(v string) bool {
	d, err := time.ParseDuration(v)
	return err == nil && d >= 0
}

// isWords reports whether s is words of letters, digits and "_" with separators
// between. The driver writes them into a statement as they are.
func isWords(s string, separator rune) bool {
	word := false
	for _, r := range s {
		switch {
		case r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
			word = true
		case r == separator && word:
			word = false
		default:
			return false
		}
	}
	return word
}

// checkVariable checks a variable, which the driver writes into a SET statement, name and
// value as they are.
func checkVariable(name, value string) error {
	switch {
	case !isVariable(name):
		return errors.New("no variable has such a name")
	case value == "":
		return errors.New("it has to be a value in SQL")
	}
	return nil
}

// isVariable reports whether a name is a system variable's, which has dots if it is of a
// component, or with "@" a user's.
func isVariable(name string) bool {
	if user, ok := strings.CutPrefix(name, "@"); ok {
		return jdbcurl.IsName(user) && !strings.ContainsAny(user, "@-")
	}
	return isWords(name, '.')
}
