package goora_test

import (
	"testing"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The cases that guide_test.go does not have.
func TestCheckParams(t *testing.T) {
	configtest.CheckParams(t, goora.Engine{}, []configtest.ParamsCase{
		{nil, nil},
		{[]string{"SSL", "TRUE", "SSL VERIFY", "FALSE", "WALLET", "/w"}, nil},
		{[]string{"ssl", "enable", "ssl_verify", "disabled"}, nil},
		{[]string{"protocol", "TCPS", "ssl verify", "true"}, nil},
		{[]string{"ssl", "true", "ssl-verify", "false", "Connect-Timeout", "10"}, nil},
		{[]string{"protocol", "tcp", "ssl", "false"}, nil},
		{[]string{"CONNECT TIMEOUT", "10", "TRANSPORT_CONNECT_TIMEOUT", "500ms", "TIMEOUT", "0"}, nil},
		{[]string{"connect_timeout", "10 sec", "timeout", "1 MIN"}, nil},
		{[]string{"PREFETCH_ROWS", "500", "lob fetch", "post", "LANGUAGE", "GERMAN", "TERRITORY", "UNITED KINGDOM", "SERVER LOCATION", "Europe/Berlin"}, nil},
		{[]string{"DBA PRIVILEGE", "sysdba", "INSTANCE NAME", "orcl1", "PROXY CLIENT NAME", "APP", "PROGRAM", "x", "OS USER", "y"}, nil},
		{[]string{"ENCRYPTION", "rejected", "DATA INTEGRITY", "REQUESTED", "LOAD BALANCE", "on", "server type", "shared"}, nil},

		{[]string{"SSL", ""}, []string{`"SSL"`}},
		{[]string{"SSL", "true", "ssl", "CANARY"}, []string{`"SSL"`, `"ssl"`, "the same"}},
		{[]string{"SSL VERIFY", "true", "ssl_verify", "CANARY"}, []string{`"SSL VERIFY"`, `"ssl_verify"`}},
		{[]string{"ssl", "true", "SSL VERIFY", "true", "ssl-verify", "CANARY"}, []string{`"SSL VERIFY"`, `"ssl-verify"`, "the same"}},
		{[]string{"ssl_verify", "true"}, []string{`"ssl_verify"`, "SSL=true"}},
		{[]string{"SSL VERIFY", "true", "SSL", "false"}, []string{`"SSL VERIFY"`, "SSL=true"}},
		{[]string{"WALLET", "", "SSL", "true"}, []string{`"WALLET"`}},
		{[]string{"protocol", "tcp", "ssl", "true"}, []string{"contradict"}},
		{[]string{"protocol", "tcps", "ssl", "false"}, []string{"contradict"}},
		{[]string{"tls", "CANARY"}, []string{`"tls"`, `"SSL"`}},
		{[]string{"sslverify", "CANARY"}, []string{`"sslverify"`, `"SSL VERIFY"`}},
		{[]string{"oracle.net.wallet_location", "CANARY"}, []string{`"oracle.net.wallet_location"`, `"WALLET"`}},
		{[]string{"a=CANARY", "x"}, []string{"a name that none has"}},
		{[]string{"wallet_password", "CANARY"}, []string{`"wallet_password"`, "cwallet.sso"}},
		{[]string{"TRACE_DIR", "CANARY"}, []string{`"TRACE_DIR"`, "TraceDir"}},
		{[]string{"ENCRYPTION", "CANARY"}, []string{`"ENCRYPTION"`}},
		{[]string{"TIMEOUT", "-1"}, []string{`"TIMEOUT"`}},
		{[]string{"TIMEOUT", "1h"}, []string{`"TIMEOUT"`}},
		{[]string{"TIMEOUT", ""}, []string{`"TIMEOUT"`}},
		{[]string{"CONNECT TIMEOUT", "99999999999"}, []string{`"CONNECT TIMEOUT"`}},
		{[]string{"PREFETCH_ROWS", "0"}, []string{`"PREFETCH_ROWS"`}},
		{[]string{"PROGRAM", "CANARY\n"}, []string{`"PROGRAM"`, "control"}},
	})
}

// Without parameters the configuration is that of go-ora's ParseConfig, except for the descriptor,
// which is ours, and the credentials.
func TestDefaults(t *testing.T) {
	theirs, err := configurations.ParseConfig("oracle://u:p@h:1521/ORCL")
	if err != nil {
		t.Fatal(err)
	}
	theirs.UserID, theirs.Password = "", ""
	ours := capture(t, driver.Endpoint{Host: "h", Port: 1521, Database: "ORCL"})
	if got := drivertest.FieldsOf(ours).Without("Cid", "connStr", "Servers[0].Protocol").Since(drivertest.FieldsOf(theirs).Without("Cid", "connStr", "Servers[0].Protocol")); got != "" {
		t.Errorf("go-ora gets another %s", got)
	}
}

func TestInfo(t *testing.T) {
	info := goora.Engine{}.Info()
	if info.Name != "oracle" || len(info.Schemes) != 1 || info.Schemes[0] != "oracle" || info.Port != 1521 ||
		info.Database != "" || !info.DatabaseRequired || info.MaxLogins != 3 || info.ClosesSuperseded {
		t.Errorf("Info() = %+v", info)
	}
	configtest.Accepts(t, goora.Engine{}, []string{"oracle", "oracle-ee", "oracle-se2-cdb", "custom-oracle-ee"}, []string{"", "postgres", "Oracle", "mysql", "custom-sqlserver-ee"})
}
