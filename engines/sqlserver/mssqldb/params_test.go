package mssqldb_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The defaults. guide_test.go has the rest.
func TestDefaults(t *testing.T) {
	c, err := capture(t, driver.Endpoint{Host: "h.example.com", Port: 1433, Database: "a;b}{c"})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		name      string
		got, want any
	}{
		{"Host", c.Host, "h.example.com"},
		{"Port", c.Port, uint64(1433)},
		{"Database", c.Database, "a;b}{c"},
		{"Protocols", c.Protocols, []string{"tcp"}},
		{"ServerSPN", c.ServerSPN, "MSSQLSvc/h.example.com:1433"},
		{"Encryption", c.Encryption, msdsn.Encryption(msdsn.EncryptionRequired)},
		{"TLSConfig.InsecureSkipVerify", c.TLSConfig.InsecureSkipVerify, true},
		{"TLSConfig.ServerName", c.TLSConfig.ServerName, "h.example.com"},
		{"HostInCertificateProvided", c.HostInCertificateProvided, false},
		{"AppName", c.AppName, "go-mssqldb"},
		{"ConnTimeout", c.ConnTimeout, time.Duration(0)},
		{"DialTimeout", c.DialTimeout, 15 * time.Second},
		{"KeepAlive", c.KeepAlive, 30 * time.Second},
		{"MultiSubnetFailover", c.MultiSubnetFailover, true},
		{"EpaEnabled", c.EpaEnabled, false},
	} {
		if !reflect.DeepEqual(d.got, d.want) {
			t.Errorf("%s is %#v, want %#v", d.name, d.got, d.want)
		}
	}
}

// The cases that guide_test.go does not have.
func TestCheckParams(t *testing.T) {
	configtest.CheckParams(t, mssqldb.Engine{}, []configtest.ParamsCase{
		{nil, nil},
		{pairsOf("Encrypt", "TRUE", "TrustServerCertificate", "Yes", "app name", "x", "logintimeout", "5"), nil},
		{pairsOf("enrcypt", "CANARY"), []string{`"enrcypt" is not known`, `"encrypt"`}},
		{pairsOf("trust_server_certificate", "CANARY"), []string{`"trust_server_certificate" is not known`, `"trustservercertificate"`}},
		{pairsOf("socketTimeout", "CANARY"), []string{`"socketTimeout" is not known`, `"connection timeout"`}},
		{pairsOf("no_such", "CANARY"), []string{`"no_such" is not known`}},
		{pairsOf("CANARY;x", "1"), []string{"a name that none has"}},
		{pairsOf("", "CANARY"), []string{"a name that none has"}},
		{pairsOf("encrypt", ""), []string{`"encrypt"`}},
		{pairsOf("trustservercertificate", ""), []string{`"trustservercertificate"`}},
		{pairsOf("app name", strings.Repeat("CANARY", 22)), []string{`"app name"`, "128"}},
		{pairsOf("app name", "CANARY\x00"), []string{`"app name"`}},
		{pairsOf("app name", "CANARY\xff"), []string{`"app name"`}},
		{pairsOf("dial timeout", "CANARY"), []string{`"dial timeout"`, "seconds"}},
		{pairsOf("dial timeout", "30s"), []string{`"dial timeout"`}},
		{pairsOf("dial timeout", "-1"), []string{`"dial timeout"`}},
		{pairsOf("dial timeout", "-0"), []string{`"dial timeout"`}}, // go-mssqldb has no such number
		{pairsOf("packet size", "32768"), []string{`"packet size"`}},
		{pairsOf("log", "CANARY"), []string{`"log"`}},
		{pairsOf("instance", `a\CANARY`), []string{`"instance"`}},
		{pairsOf("timezone", ""), []string{`"timezone"`}},
		{pairsOf("columnencryption", "CANARY"), []string{`"columnencryption"`}},
		{pairsOf("FailoverPartnerSPN", "CANARY"), []string{`"FailoverPartnerSPN" is not allowed`}},
		{pairsOf("hostnameincertificate", "CANARY", "encrypt", "disable"), []string{`"hostnameincertificate"`, `"encrypt"`}},
		{pairsOf("certificate", "CANARY.pem", "trustservercertificate", "true", "encrypt", "strict"), nil},
		{pairsOf("certificate", "CANARY.pem", "servercertificate", "CANARY.pem"), []string{`"certificate"`, `"servercertificate"`}},
		{pairsOf("hostnameincertificate", "CANARY", "servercertificate", "CANARY.pem"), []string{`"hostnameincertificate"`, `"servercertificate"`}},
	})
}

// Case and spaces in names do not matter, as in ADO.NET and go-mssqldb.
func TestCaseAndSpacesInNamesDoNotMatter(t *testing.T) {
	for _, names := range [][]string{
		{"trustservercertificate", "Trust Server Certificate", "TrustServerCertificate", " trust servercertificate "},
		{"logintimeout", "Login Timeout"},
		{"app name", "appname", "App Name", "AppName"},
		{"packet size", "PacketSize"},
	} {
		for i, name := range names {
			value := map[string]string{"app name": "x", "trustservercertificate": "false"}[names[0]]
			if value == "" {
				value = "1024"
			}
			if err := (mssqldb.Engine{}).CheckParams(pairs(name, value)); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			for _, other := range names[i+1:] {
				if err := (mssqldb.Engine{}).CheckParams(pairs(name, value, other, value)); err == nil || !strings.Contains(err.Error(), "are the same") {
					t.Errorf("%q and %q: %v, want an error that says they are the same", name, other, err)
				}
			}
		}
	}
}

func TestInfo(t *testing.T) {
	info := mssqldb.Engine{}.Info()
	if info.Name != "sqlserver" || len(info.Schemes) != 1 || info.Schemes[0] != "sqlserver" || info.Port != 1433 ||
		info.Database != "master" || info.DatabaseRequired || info.MaxLogins != 3 || info.ClosesSuperseded {
		t.Errorf("Info() = %+v", info)
	}
	configtest.Accepts(t, mssqldb.Engine{}, []string{"sqlserver", "sqlserver-ee", "sqlserver-se", "sqlserver-ex", "sqlserver-web", "custom-sqlserver-ee"}, []string{"", "mysql", "custom-oracle-ee", "mssql", "SQLServer"})
}
