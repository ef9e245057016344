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

// CheckParams checks parameters. They are the parameters of go-sql-driver/mysql, the system
// variables of the server, in upper or lower case, and variables of the user (with "@"). As with
// go-sql-driver alone, the value of a variable is SQL, so a string needs quotes. The name of a
// variable is not checked, because the server checks it. The exception is a name that may be a
// mistyped parameter, or about TLS or the login, such as TLS=true: that is an error, and does not
// go to the server.
func (e Engine) CheckParams(params map[string]string) error { return words(e.MariaDB).Check(params) }

// ParseURL parses a URL in the form of MySQL's JDBC driver, Connector/J, or of MariaDB's:
//
//	mysql://host:port/database?user=<secret id>&name=value
//
// Only the user is required. Values and the database are percent-decoded. A "+" stays a "+", unlike
// in Connector/J. The forms mysql:loadbalance:, mariadb:sequential:, mariadb:aurora: and similar
// ones mean their host if they have one host. A list of hosts is an error, because one login
// attempt sends one login, and a list would send more: give the endpoint of the cluster or of a proxy.
//
// A property of the JDBC driver is translated, or is an error if go-sql-driver has no counterpart.
// A parameter of go-sql-driver or a variable of the session is taken under its own name.
func (e Engine) ParseURL(raw string, own func(property string) bool) (driver.URL, error) {
	raw = withoutMode(raw)
	switch {
	case !jdbcurl.Split(raw).HasAuthority:
		return driver.URL{}, fmt.Errorf("the URL is not of the form %s://host:port/database", e.Info().Name)
	case strings.ContainsRune(raw, '#'):
		return driver.URL{}, errors.New(`the URL has a "#": write "%23" for it`) // Connector/J drops the text after it
	}
	return words(e.MariaDB).ParseURL(raw, own)
}

// withoutMode drops the word before "//" by which Connector/J and MariaDB's driver choose among
// several hosts.
func withoutMode(raw string) string {
	scheme, rest, _ := strings.Cut(raw, ":")
	mode, rest, ok := strings.Cut(rest, ":")
	if ok && slices.Contains([]string{"aurora", "load-balance-read", "loadbalance", "replication", "sequential"}, mode) {
		return scheme + ":" + rest
	}
	return raw
}

// words returns the names that go-sql-driver/mysql, the JDBC driver and the server use.
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
	duration = vocabulary.Param{Check: vocabulary.Match("a duration such as 30s or 1m", isDuration)}
	notEmpty = vocabulary.Param{Check: vocabulary.NotEmpty}
)

// params are the parameters of parseDSNParams in dsn.go of go-sql-driver/mysql v1.10.1, without
// those in refused, and the parameters of our own in tls.go. The driver treats every other
// parameter as a variable of the session.
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

// refused are parameters of the driver that are an error here, with the reason.
var refused = map[string]string{
	"allowAllFiles":            "any server could then ask for any file: name files with mysql.RegisterLocalFile, or set it in Engine.Configure",
	"allowFallbackToPlaintext": "give tls=preferred",
	"allowOldPasswords":        "a password is easy to compute from what it sends: use mysql_native_password or caching_sha2_password",
	"strict":                   "go-sql-driver/mysql does not have it any more: set sql_mode",
}

// meant has names that people write by mistake, with the parameter or variable that they mean.
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

// harmless are variables that look like a mistyped parameter or property, or as if they were about
// TLS: variables of the user, and variables that a session of MySQL, of MariaDB or of one of their
// storage engines may change.
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
		return "", 0, errors.New("the URL has a list of properties for a host: give host:port")
	case strings.Contains(s, ","):
		return "", 0, errors.New("the URL has more than one host, and a login goes to one: give the endpoint of the cluster or of a proxy")
	}
	return jdbcurl.SplitHostPort(s)
}

// parseBool accepts what readBool of go-sql-driver/mysql accepts.
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

// isWords reports whether s consists of words of letters, digits and "_", with separators in
// between. The driver writes them unchanged into a statement.
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

// checkVariable checks a variable. The driver writes its name and value unchanged into a SET
// statement.
func checkVariable(name, value string) error {
	switch {
	case !isVariable(name):
		return errors.New("a variable cannot have that name")
	case value == "":
		return errors.New("it has to be a value in SQL")
	}
	return nil
}

// isVariable reports whether a name can be that of a system variable, which has dots if it belongs
// to a component, or, with "@", that of a variable of the user.
func isVariable(name string) bool {
	if user, ok := strings.CutPrefix(name, "@"); ok {
		return jdbcurl.IsName(user) && !strings.ContainsAny(user, "@-")
	}
	return isWords(name, '.')
}
