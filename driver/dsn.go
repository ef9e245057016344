package driver

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A data source name in the form of AWS's JDBC library begins with jdbcPrefix.
const jdbcPrefix = "jdbc-secretsmanager:"

// jdbcSchemes are all schemes of that form. They distinguish a URL for another engine from a misspelt
// one.
var jdbcSchemes = []string{"postgresql", "redshift", "mysql", "mariadb", "oracle", "sqlserver", "db2"}

// A dataSource is a parsed data source name.
type dataSource struct {
	secretID string
	location Location
	stage    string

	// If not zero, these take precedence over the secret's fields.
	place
	engine string

	auth            string // authIAM; or empty, which means the password or Options.Token
	fields          fields
	fallback        []string      // nil: not given; empty: "none"
	rotationWindow  time.Duration // negative: not given
	closeSuperseded *bool         // nil: not given
	maxLogins       int           // as Options.MaxLogins; 0: not given
	params          map[string]string
}

// fields are the names of the keys in the secret's JSON.
type fields struct{ host, port, database, username, password string }

var defaultFields = fields{"host", "port", "dbname", "username", "password"}

// ownKeys are the parameters that this package reads. All others are the engine's.
var ownKeys = map[string]func(d *dataSource, value string) error{
	"host": func(d *dataSource, v string) (err error) {
		d.host, err = parseHost(v)
		return err
	},
	"port": func(d *dataSource, v string) (err error) {
		d.port, err = parsePort(v)
		return err
	},
	"dbname":          func(d *dataSource, v string) error { return setText(&d.database, v) },
	"engine":          func(d *dataSource, v string) error { return setText(&d.engine, v) },
	"hostKey":         func(d *dataSource, v string) error { return setText(&d.fields.host, v) },
	"portKey":         func(d *dataSource, v string) error { return setText(&d.fields.port, v) },
	"dbnameKey":       func(d *dataSource, v string) error { return setText(&d.fields.database, v) },
	"usernameKey":     func(d *dataSource, v string) error { return setText(&d.fields.username, v) },
	"passwordKey":     func(d *dataSource, v string) error { return setText(&d.fields.password, v) },
	"stage":           func(d *dataSource, v string) error { return setText(&d.stage, v) },
	"auth":            setAuth,
	"source":          func(d *dataSource, v string) error { return setText(&d.location.Source, v) },
	"profile":         func(d *dataSource, v string) error { return setText(&d.location.Profile, v) },
	"region":          setRegion,
	"endpoint":        setEndpoint,
	"roleArn":         setRoleARN,
	"externalId":      setExternalID,
	"fallback":        setFallback,
	"rotationWindow":  setRotationWindow,
	"closeSuperseded": setCloseSuperseded,
	"maxLogins":       setMaxLogins,
}

func newDataSource() *dataSource {
	return &dataSource{stage: secretcache.StageCurrent, fields: defaultFields, rotationWindow: -1}
}

var errEmpty = errors.New("it is empty")

// parseDSN parses a data source name for an engine. Errors quote only the names of parameters, because
// somebody will pass postgres://user:password@host.
func parseDSN(engine Engine, info *Info, dsn string) (*dataSource, error) {
	d := newDataSource()
	var err error
	if rest, ok := strings.CutPrefix(dsn, jdbcPrefix); ok {
		err = d.parseJDBC(engine, info, rest)
	} else if err = d.parseBare(dsn); err == nil {
		err = d.checkHost(info)
	}
	if err == nil {
		err = d.check(engine, info)
	}
	if err != nil {
		return nil, badDSN(err)
	}
	return d, nil
}

// badDSN returns an error of the kind ErrBadDSN, or of err's kind if err has one.
func badDSN(err error) error {
	kind := ErrBadDSN
	if e := (*Error)(nil); errors.As(err, &e) {
		kind, err = e.Kind, e.Err
	}
	return &Error{Op: "parse data source name", Kind: kind, Err: err}
}

func mismatch(format string, args ...any) error {
	return &Error{Kind: ErrEngineMismatch, Err: fmt.Errorf(format, args...)}
}

func (d *dataSource) parseBare(dsn string) error {
	if lower := strings.ToLower(dsn); strings.HasPrefix(lower, "jdbc:") || strings.HasPrefix(lower, jdbcPrefix) {
		return errors.New(`it is a URL for another driver; a URL for a secret begins with "jdbc-secretsmanager:"`)
	}
	id, query, hasQuery := strings.Cut(dsn, "?")
	if err := secretid.Check(id); err != nil {
		return err // before other errors, because they quote the name of a parameter
	}
	d.secretID = id
	if !hasQuery || query == "" {
		return nil
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, err := parsePair(pair)
		if err == nil && seen[key] {
			err = fmt.Errorf("parameter %q is given twice", key)
		}
		if err == nil {
			err = d.set(key, value)
		}
		if err != nil {
			return err
		}
		seen[key] = true
	}
	return nil
}

func parsePair(pair string) (key, value string, err error) {
	key, value, ok := strings.Cut(pair, "=")
	if !ok || key == "" {
		return "", "", errors.New(`a parameter is not of the form key=value; write "%26" for "&" in a value`)
	}
	if i := notInKey(key); i >= 0 {
		return "", "", fmt.Errorf("a parameter's name contains %s, which is not allowed", secretid.Char(key[i:]))
	}
	if len(key) > maxKey {
		return "", "", fmt.Errorf("a parameter's name is longer than %d characters", maxKey)
	}
	value, err = url.PathUnescape(value) // unlike QueryUnescape it leaves "+" alone
	if err != nil {
		// The cause quotes the value.
		return "", "", fmt.Errorf(`parameter %q: "%%" is not followed by two hexadecimal digits; write "%%25" for "%%"`, key)
	}
	return key, value, nil
}

// The longest name of a parameter.
const maxKey = 64

// isKey reports whether s looks like the name of a parameter, so that an error may quote it. The rest
// of a password that contains "?" or "&" should not look like one.
func isKey(s string) bool { return len(s) <= maxKey && notInKey(s) < 0 }

// notInKey returns the index of the first character that is not allowed in the name of a parameter,
// or -1. "@" is allowed at the beginning, for MySQL's user variables.
func notInKey(s string) int {
	for i, r := range s {
		if r != '_' && r != '-' && r != '.' && r != ' ' && !isAlnum(r) && (r != '@' || i > 0) {
			return i
		}
	}
	return -1
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func (d *dataSource) parseJDBC(engine Engine, info *Info, rest string) error {
	if err := checkScheme(info, rest); err != nil {
		return err
	}
	u, err := engine.ParseURL(rest, func(key string) bool { return ownKeys[key] != nil })
	switch {
	case err != nil:
		return err
	case u.SecretID == "":
		return errors.New(`the URL has no "user", which is the id of the secret`)
	}
	if err := secretid.Check(u.SecretID); err != nil {
		return err
	}
	d.secretID = u.SecretID
	for _, key := range slices.Sorted(maps.Keys(u.Params)) {
		if slices.Contains([]string{"host", "port", "dbname", "engine"}, key) {
			return fmt.Errorf("parameter %q is not allowed in a JDBC URL: give the value in its own place in the URL", key)
		}
		if err := d.set(key, u.Params[key]); err != nil {
			return err
		}
	}
	d.host, d.port, d.database = u.Host, u.Port, u.Database
	if d.host != "" {
		d.port = cmp.Or(d.port, info.Port)
	}
	return nil
}

// checkScheme returns an error if a URL is not for this engine.
func checkScheme(info *Info, rest string) error {
	scheme, _, ok := strings.Cut(rest, ":")
	switch {
	case ok && slices.Contains(info.Schemes, scheme):
		return nil
	case ok && slices.Contains(jdbcSchemes, scheme):
		return mismatch("the URL is for %s, and the driver is for %s", scheme, info.Name)
	}
	return fmt.Errorf("the word after %q is not one of %q", jdbcPrefix, info.Schemes)
}

// set sets one parameter. Only the engine's parameters may have empty values.
func (d *dataSource) set(key, value string) error {
	if strings.IndexFunc(value, unicode.IsControl) >= 0 {
		return fmt.Errorf("parameter %q holds a control character", key)
	}
	if set, ok := ownKeys[key]; ok {
		if value == "" {
			return fmt.Errorf("parameter %q is empty", key)
		}
		if err := set(d, value); err != nil {
			return fmt.Errorf("parameter %q: %w", key, err)
		}
		return nil
	}
	for own := range ownKeys {
		// A test in engines/all checks that no engine has such a parameter. MySQL's user variables
		// may have any name.
		if jdbcurl.Nearly(key, own) && !strings.HasPrefix(key, "@") {
			return fmt.Errorf("parameter %q is not known; did you mean %q?", key, own)
		}
	}
	if isPools(key) {
		return fmt.Errorf("parameter %q is for a connection pool: set it on sql.DB, for example with SetMaxOpenConns or SetConnMaxLifetime; NewPool of package postgres or redshift takes the parameters of pgxpool", key)
	}
	if jdbcurl.OverridesSecret(key) {
		return fmt.Errorf(`parameter %q is not allowed: server, database and user come from the secret; %s`, key, instead(key))
	}
	if d.params == nil {
		d.params = map[string]string{}
	}
	d.params[key] = value
	return nil
}

// instead returns what to use in place of a parameter that would override the secret.
func instead(key string) string {
	if jdbcurl.Plain(key) == "sid" {
		return `for Oracle, "dbname_is=sid" says that "dbname" is a SID`
	}
	return `"host", "port" and "dbname" take precedence over it`
}

// isPools reports whether a parameter is one of pgxpool or HikariCP, or a method of sql.DB.
func isPools(key string) bool {
	switch jdbcurl.Plain(key) {
	case "maxopenconns", "maxidleconns", "connmaxlifetime", "connmaxidletime",
		"maximumpoolsize", "minimumidle", "maxpoolsize", "minpoolsize":
		return true
	}
	return strings.HasPrefix(key, "pool_")
}

// check does the checks that both forms of data source names have in common.
func (d *dataSource) check(engine Engine, info *Info) error {
	d.moveToRegion()
	if d.engine != "" && !info.Accepts(strings.ToLower(d.engine)) {
		return mismatch(`parameter "engine" names another database than the driver for %s`, info.Name)
	}
	if err := d.checkAuth(info); err != nil {
		return err
	}
	return engine.CheckParams(d.params)
}

// moveToRegion sets the region of an ARN to the one in the data source name, or to the first if there
// are several. The ARN of a replica differs only in the region.
func (d *dataSource) moveToRegion() {
	region, _ := awsregion.Split(d.location.Region)
	d.secretID = secretid.InRegion(d.secretID, region)
}

func setText(to *string, v string) error {
	*to = v
	return nil
}

func setFallback(d *dataSource, v string) error {
	d.fallback = []string{}
	if v == "none" {
		return nil
	}
	for stage := range strings.SplitSeq(v, ",") {
		if stage == "" || stage == "none" || slices.Contains(d.fallback, stage) {
			return errors.New(`it is neither "none" nor a list of different version stages separated by commas`)
		}
		d.fallback = append(d.fallback, stage)
	}
	return nil
}

func setRotationWindow(d *dataSource, v string) error {
	w, err := time.ParseDuration(v)
	if err != nil || w < 0 {
		return errors.New(`it is not a duration, such as "30s" or "2m"`)
	}
	d.rotationWindow = w
	return nil
}

func setCloseSuperseded(d *dataSource, v string) error {
	if v != "true" && v != "false" {
		return errors.New("it is neither true nor false")
	}
	yes := v == "true"
	d.closeSuperseded = &yes
	return nil
}

func setMaxLogins(d *dataSource, v string) error {
	n, err := strconv.Atoi(v)
	switch {
	case v == "none":
		n = -1
	case err != nil || n < 1:
		return errors.New(`it has to be a whole number, 1 or more, or "none"`)
	}
	d.maxLogins = n
	return nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, errors.New("it is not a port number from 1 to 65535")
	}
	return int(n), nil
}
