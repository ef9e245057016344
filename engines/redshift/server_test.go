package redshift_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
)

const database = "dev"

// start starts a server that behaves like Redshift. It speaks protocol 3.0 and nothing newer,
// checks MD5 digests of passwords, rejects with Redshift's code and message, accepts the settings
// that Redshift has, and reports what Redshift reports (not standard_conforming_strings). The
// sources are issues 6, 39 and 115 of aws/amazon-redshift-jdbc-driver. A nil config means no TLS.
func start(tb testing.TB, config *tls.Config, hosts ...string) *pgserver.Server {
	tb.Helper()
	s := &pgserver.Server{
		TLS: config, OnlyV30: true, Method: pgserver.MD5, CheckPasswords: true, Databases: []string{database},
		Rejects: func(user string) *pgserver.Error {
			return pgserver.NewError("28000", "auth_failed", `password authentication failed for user "`+user+`"`)
		},
		Check: checkSettings,
		Reports: map[string]string{
			"client_encoding": "UTF8", "datestyle": "ISO, MDY", "integer_datetimes": "on", "is_superuser": "off",
			"server_encoding": "UNICODE", "server_version": "8.0.2", "TimeZone": "UTC", "padb_version": "1.0.63269",
		},
	}
	return s.Start(tb, hosts...)
}

func checkSettings(l pgserver.Login) *pgserver.Error {
	for name := range l.Params {
		if !slices.Contains([]string{"user", "database", "application_name", "search_path", "query_group", "extra_float_digits"}, strings.ToLower(name)) {
			return pgserver.NewError("42704", "set_config_option", `unrecognized configuration parameter "`+name+`"`)
		}
	}
	return nil
}
