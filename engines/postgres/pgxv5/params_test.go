package pgxv5_test

import (
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

func TestCheckParams(t *testing.T) {
	configtest.CheckParams(t, pgxv5.Engine{}, []configtest.ParamsCase{
		{nil, nil},
		{pairsOf("sslmode", "verify-full", "sslrootcert", "/ca.pem", "sslcert", "/c.pem", "sslkey", "/k.pem", "sslsni", "0", "sslnegotiation", "direct", "sslcertmode", "require"), nil},
		{pairsOf("sslrootcert", "system", "sslmode", "verify-full"), nil},
		{pairsOf("channel_binding", "require", "require_auth", "scram-sha-256, md5", "krbsrvname", "postgres", "krbspn", ""), nil},
		{pairsOf("require_auth", "!password,!md5"), nil},
		{pairsOf("connect_timeout", "0", "target_session_attrs", "prefer-standby", "min_protocol_version", "3.0", "max_protocol_version", "latest"), nil},
		{pairsOf("default_query_exec_mode", "exec", "statement_cache_capacity", "0", "description_cache_capacity", "100"), nil},
		{pairsOf("application_name", "a b", "search_path", `"$user", public`, "statement_timeout", "5s", "timezone", "UTC", "options", "-c x=y"), nil},
		{pairsOf("TimeZone", "UTC", "DATESTYLE", "ISO", "work_mem", "4MB", "role", "owner", "jit", "off"), nil},
		{pairsOf("a_setting_of_postgresql_19", "1"), nil},
		{pairsOf("transaction_timeout", "1s", "default_with_oids", "off"), nil}, // of PostgreSQL 17, of 11
		{pairsOf("pg_stat_statements.track", "all", "password_encryption", "scram-sha-256", "post_auth_delay", "0", "apg_write_forward", "x", "aurora_compute_plan_id", "on"), nil},

		{pairsOf("sslmode", "verify_full"), []string{`"sslmode"`, "verify-full"}},
		{pairsOf("sslmode", ""), []string{`"sslmode"`}},
		{pairsOf("ssl_mode", "CANARY"), []string{`"ssl_mode"`, `"sslmode"`}},
		{pairsOf("sslmod", "CANARY"), []string{`"sslmod"`, `"sslmode"`}},
		{pairsOf("ApplicationName", "CANARY"), []string{`"ApplicationName"`, `"application_name"`}},
		{pairsOf("connectTimeout", "CANARY"), []string{`"connectTimeout"`, `"connect_timeout"`}},
		{pairsOf("loginTimeout", "CANARY"), []string{`"loginTimeout"`, `"connect_timeout"`}},
		{pairsOf("connect_timeuot", "CANARY"), []string{`"connect_timeuot"`, `"connect_timeout"`}},
		{pairsOf("enable_tls", "CANARY"), []string{`"enable_tls" is not known`, `"tls"`}},
		{pairsOf("x.verify", "CANARY"), []string{`"x.verify" is not known`, `"verify"`}},
		{pairsOf("LOADBALANCEHOSTS", "CANARY"), []string{`"LOADBALANCEHOSTS" is not known`}},
		{pairsOf("autosav", "CANARY"), []string{`"autosav" is not known`}},
		{pairsOf("serch_path", "CANARY"), []string{`"serch_path"`, `"search_path"`}},
		{pairsOf("_pq_.x", "CANARY"), []string{`"_pq_.x"`, "option of the protocol"}},
		{pairsOf("a b'c=CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("x.y' host='CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("application_name", "CANARY\x00user\x00postgres"), []string{`"application_name"`, "NUL"}},
		{pairsOf("sslrootcert", "CANARY", "sslmode", "prefer"), []string{`"sslrootcert"`, "sslmode=verify-full"}},
		{pairsOf("sslrootcert", "CANARY", "sslmode", "disable"), []string{`"sslrootcert"`}},
		{pairsOf("sslrootcert", "system", "sslmode", "disable"), []string{`"sslrootcert"`, "verify-full"}},
		{pairsOf("connect_timeout", "CANARY"), []string{`"connect_timeout"`, "number of seconds"}},
		{pairsOf("connect_timeout", "-1"), []string{`"connect_timeout"`}},
		{pairsOf("connect_timeout", "+1"), []string{`"connect_timeout"`}},
		{pairsOf("connect_timeout", "10s"), []string{`"connect_timeout"`}},
		{pairsOf("connect_timeout", "99999999999999"), []string{`"connect_timeout"`}},
		{pairsOf("require_auth", "md5,!password"), []string{`"require_auth"`}},
		{pairsOf("require_auth", "md5,md5"), []string{`"require_auth"`}},
		{pairsOf("statement_cache_capacity", "CANARY"), []string{`"statement_cache_capacity"`}},
	})
}

func TestNamesAboutTLSAndLogins(t *testing.T) { configtest.RejectsNamesAboutTLS(t, pgxv5.Engine{}) }

// Settings whose names look like mistyped parameters are accepted, and the list has no other
// setting.
func TestSettingsThatLookLikeParametersAreAccepted(t *testing.T) {
	words, server := *pgxv5.Words, *pgxv5.Words.Server
	server.Harmless = nil
	words.Server = &server
	for _, name := range []string{"password_encryption", "post_auth_delay", "ssl_renegotiation_limit"} {
		if err := (pgxv5.Engine{}).CheckParams(pairs(name, "0")); err != nil {
			t.Error(err)
		}
	}
	for _, name := range pgxv5.Words.Server.Harmless {
		if words.Check(pairs(name, "0")) == nil {
			t.Errorf("%s would not be refused", name)
		}
	}
}

func TestInfo(t *testing.T) {
	info := pgxv5.Engine{}.Info()
	if info.Name != "postgres" || strings.Join(info.Schemes, ",") != "postgresql,postgres" || info.Port != 5432 ||
		info.Database != "postgres" || info.DatabaseRequired || info.MaxLogins != 0 || !info.ClosesSuperseded {
		t.Errorf("Info() = %+v", info)
	}
	configtest.Accepts(t, pgxv5.Engine{}, []string{"postgres", "postgresql", "aurora-postgresql"}, []string{"", "Postgres", "aurora", "aurora-mysql", "redshift", "postgresx"})
}

// pgx accepts what CheckParams accepts.
func TestCheckedParamsParse(t *testing.T) {
	for _, params := range [][]string{
		pairsOf("require_auth", " scram-sha-256 ,md5"), pairsOf("require_auth", "!none"), pairsOf("require_auth", ""),
		pairsOf("connect_timeout", "2147483647"), pairsOf("connect_timeout", "007"), pairsOf("statement_cache_capacity", "2147483647"),
		pairsOf("min_protocol_version", "3.2"), pairsOf("min_protocol_version", "latest", "max_protocol_version", "3.2"),
		pairsOf("krbspn", "' user='x", "application_name", `\`), pairsOf("sslsni", "0"), pairsOf("sslnegotiation", "direct", "sslmode", "require"),
		pairsOf("sslrootcert", "system"), pairsOf("channel_binding", "disable"), pairsOf("sslcertmode", "disable"),
	} {
		ep := driver.Endpoint{Host: "db.test", Port: 5432, Database: "app", Params: pairs(params...)}
		if _, err := (pgxv5.Engine{}).Prepare(ep); err != nil {
			t.Errorf("Prepare(%q): %v", params, err)
		}
	}
}
