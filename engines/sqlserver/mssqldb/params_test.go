package mssqldb_test

import (
	"crypto/tls"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
)

func TestParams(t *testing.T) {
	for _, c := range []struct {
		params []string
		get    func(*msdsn.Config) any
		want   any
	}{
		{pairsOf("app name", "a;b}{c=d"), func(c *msdsn.Config) any { return c.AppName }, "a;b}{c=d"},
		{pairsOf("AppName", " x "), func(c *msdsn.Config) any { return c.AppName }, " x "},
		{nil, func(c *msdsn.Config) any { return c.AppName }, "go-mssqldb"},
		{pairsOf("applicationintent", "readonly"), func(c *msdsn.Config) any { return c.ReadOnlyIntent }, true},
		{pairsOf("ApplicationIntent", "ReadWrite"), func(c *msdsn.Config) any { return c.ReadOnlyIntent }, false},
		{pairsOf("columnencryption", "Enabled"), func(c *msdsn.Config) any { return c.ColumnEncryption }, true},
		{pairsOf("columnencryption", "no"), func(c *msdsn.Config) any { return c.ColumnEncryption }, false},
		{pairsOf("connection timeout", "7"), func(c *msdsn.Config) any { return c.ConnTimeout }, 7 * time.Second},
		{nil, func(c *msdsn.Config) any { return c.ConnTimeout }, time.Duration(0)},
		{pairsOf("dial timeout", "8"), func(c *msdsn.Config) any { return c.DialTimeout }, 8 * time.Second},
		{nil, func(c *msdsn.Config) any { return c.DialTimeout }, 15 * time.Second},
		{pairsOf("disableretry", "yes"), func(c *msdsn.Config) any { return c.DisableRetry }, true},
		{pairsOf("encrypt", "true"), func(c *msdsn.Config) any { return c.Encryption }, msdsn.Encryption(msdsn.EncryptionRequired)},
		{nil, func(c *msdsn.Config) any { return c.Encryption }, msdsn.Encryption(msdsn.EncryptionRequired)},
		{nil, func(c *msdsn.Config) any { return c.TLSConfig.InsecureSkipVerify }, true},
		{pairsOf("epa enabled", "true"), func(c *msdsn.Config) any { return c.EpaEnabled }, true},
		{pairsOf("guid conversion", "true"), func(c *msdsn.Config) any { return c.Encoding.GuidConversion }, true},
		{pairsOf("hostnameincertificate", "db.example.com"), func(c *msdsn.Config) any { return c.TLSConfig.ServerName }, "db.example.com"},
		{pairsOf("hostnameincertificate", "db.example.com"), func(c *msdsn.Config) any { return c.HostInCertificateProvided }, true},
		{pairsOf("encrypt", "true"), func(c *msdsn.Config) any { return c.TLSConfig.ServerName }, "h.example.com"},
		{pairsOf("encrypt", "true"), func(c *msdsn.Config) any { return c.HostInCertificateProvided }, false},
		{pairsOf("instance", "INST"), func(c *msdsn.Config) any { return c.Instance }, "INST"},
		{pairsOf("instance", "INST"), func(c *msdsn.Config) any { return c.Port }, uint64(0)},
		{nil, func(c *msdsn.Config) any { return c.Port }, uint64(1433)},
		{nil, func(c *msdsn.Config) any { return c.ServerSPN }, "MSSQLSvc/h.example.com:1433"},
		{pairsOf("instance", "INST"), func(c *msdsn.Config) any { return c.ServerSPN }, "MSSQLSvc/h.example.com:INST"},
		{pairsOf("serverspn", "MSSQLSvc/x:1"), func(c *msdsn.Config) any { return c.ServerSPN }, "MSSQLSvc/x:1"},
		{pairsOf("keepalive", "9"), func(c *msdsn.Config) any { return c.KeepAlive }, 9 * time.Second},
		{pairsOf("log", "63"), func(c *msdsn.Config) any { return c.LogFlags }, msdsn.Log(63)},
		{pairsOf("multisubnetfailover", "Disabled"), func(c *msdsn.Config) any { return c.MultiSubnetFailover }, false},
		{nil, func(c *msdsn.Config) any { return c.MultiSubnetFailover }, true},
		{pairsOf("notraceid", "1"), func(c *msdsn.Config) any { return c.NoTraceID }, true},
		{pairsOf("packet size", "32767"), func(c *msdsn.Config) any { return c.PacketSize }, uint16(32767)},
		{pairsOf("timezone", "Europe/Berlin"), func(c *msdsn.Config) any { return c.Encoding.Timezone.String() }, "Europe/Berlin"},
		{pairsOf("tlsmin", "1.3"), func(c *msdsn.Config) any { return c.TLSConfig.MinVersion }, uint16(tls.VersionTLS13)},
		{pairsOf("tlsmin", "1.0"), func(c *msdsn.Config) any { return c.TLSConfig.MinVersion }, uint16(tls.VersionTLS10)},
		{pairsOf("trustservercertificate", "false"), func(c *msdsn.Config) any { return c.TLSConfig.InsecureSkipVerify }, false},
		{pairsOf("workstation id", "w"), func(c *msdsn.Config) any { return c.Workstation }, "w"},
		{nil, func(c *msdsn.Config) any { return strings.Join(c.Protocols, ",") }, "tcp"},
		{nil, func(c *msdsn.Config) any { return c.Database }, "a;b}{c"},
	} {
		config, err := capture(t, driver.Endpoint{Host: "h.example.com", Port: 1433, Database: "a;b}{c", Params: pairs(c.params...)})
		if err != nil {
			t.Errorf("%q: %v", c.params, err)
			continue
		}
		if got := c.get(config); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %#v, want %#v", c.params, got, c.want)
		}
	}
}

func TestCheckParams(t *testing.T) {
	for _, c := range []struct {
		params []string
		want   []string // parts of the error; nil: none
	}{
		{nil, nil},
		{pairsOf("Encrypt", "TRUE", "TrustServerCertificate", "Yes", "app name", "x", "logintimeout", "5"), nil},
		{pairsOf("encrypted", "CANARY"), []string{`"encrypted" is not known`, `"encrypt"`}},
		{pairsOf("enrcypt", "CANARY"), []string{`"enrcypt" is not known`, `"encrypt"`}},
		{pairsOf("trust_server_certificate", "CANARY"), []string{`"trust_server_certificate" is not known`, `"trustservercertificate"`}},
		{pairsOf("applicationName", "CANARY"), []string{`"applicationName" is not known`, `"app name"`}},
		{pairsOf("socketTimeout", "CANARY"), []string{`"socketTimeout" is not known`, `"connection timeout"`}},
		{pairsOf("no_such", "CANARY"), []string{`"no_such" is not known`}},
		{pairsOf("CANARY;x", "1"), []string{"a name that none has"}},
		{pairsOf("", "CANARY"), []string{"a name that none has"}},
		{pairsOf("app name", "CANARY", "AppName", "CANARY"), []string{`"AppName" and "app name" are the same`}},
		{pairsOf("encrypt", "CANARY"), []string{`"encrypt"`, "strict"}},
		{pairsOf("encrypt", ""), []string{`"encrypt"`}},
		{pairsOf("encrypt", "ture"), []string{`"encrypt"`}},
		{pairsOf("trustservercertificate", "CANARY"), []string{`"trustservercertificate"`, "true or false"}},
		{pairsOf("trustservercertificate", ""), []string{`"trustservercertificate"`}},
		{pairsOf("app name", ""), []string{`"app name"`}},
		{pairsOf("app name", strings.Repeat("CANARY", 22)), []string{`"app name"`, "128"}},
		{pairsOf("app name", "CANARY\x00"), []string{`"app name"`}},
		{pairsOf("app name", "CANARY\xff"), []string{`"app name"`}},
		{pairsOf("applicationintent", "CANARY"), []string{`"applicationintent"`, "readonly"}},
		{pairsOf("dial timeout", "CANARY"), []string{`"dial timeout"`, "seconds"}},
		{pairsOf("dial timeout", "30s"), []string{`"dial timeout"`}},
		{pairsOf("dial timeout", "-1"), []string{`"dial timeout"`}},
		{pairsOf("logintimeout", "CANARY"), []string{`"logintimeout"`, "seconds"}},
		{pairsOf("packet size", "511"), []string{`"packet size"`, "512"}},
		{pairsOf("packet size", "32768"), []string{`"packet size"`}},
		{pairsOf("tlsmin", "CANARY"), []string{`"tlsmin"`, "1.2"}},
		{pairsOf("log", "CANARY"), []string{`"log"`}},
		{pairsOf("instance", `a\CANARY`), []string{`"instance"`}},
		{pairsOf("instance", "a;CANARY"), []string{`"instance"`}},
		{pairsOf("certificate", "CANARY"), []string{`"certificate"`, ".pem"}},
		{pairsOf("hostnameincertificate", "CANARY/x"), []string{`"hostnameincertificate"`}},
		{pairsOf("timezone", ""), []string{`"timezone"`}},
		{pairsOf("columnencryption", "CANARY"), []string{`"columnencryption"`}},
		{pairsOf("multisubnetfailover", "CANARY"), []string{`"multisubnetfailover"`}},
		{pairsOf("failoverport", "CANARY"), []string{`"failoverport" is not allowed`, "listener"}},
		{pairsOf("FailoverPartnerSPN", "CANARY"), []string{`"FailoverPartnerSPN" is not allowed`}},
		{pairsOf("failoverpartner", "CANARY"), []string{`"failoverpartner"`}},
		{pairsOf("protocol", "CANARY"), []string{`"protocol" is not allowed`}},
		{pairsOf("pipe", "CANARY"), []string{`"pipe" is not allowed`}},
		{pairsOf("authenticator", "CANARY"), []string{`"authenticator" is not allowed`}},
		{pairsOf("krb5-configfile", "CANARY"), []string{`"krb5-configfile" is not allowed`}},
		{pairsOf("fedauth", "CANARY"), []string{`"fedauth" is not allowed`}},
		{pairsOf("database", "CANARY"), []string{`"database"`}},
		{pairsOf("user id", "CANARY"), []string{`"user id"`}},
		{pairsOf("certificate", "CANARY.pem", "encrypt", "disable"), []string{`"certificate"`, `"encrypt"`}},
		{pairsOf("hostnameincertificate", "CANARY", "encrypt", "disable"), []string{`"hostnameincertificate"`, `"encrypt"`}},
		{pairsOf("certificate", "CANARY.pem", "trustservercertificate", "true"), []string{`"certificate"`, `"trustservercertificate"`}},
		{pairsOf("certificate", "CANARY.pem", "trustservercertificate", "true", "encrypt", "strict"), nil},
		{pairsOf("certificate", "CANARY.pem", "servercertificate", "CANARY.pem"), []string{`"certificate"`, `"servercertificate"`}},
		{pairsOf("hostnameincertificate", "CANARY", "servercertificate", "CANARY.pem"), []string{`"hostnameincertificate"`, `"servercertificate"`}},
	} {
		err := mssqldb.Engine{}.CheckParams(pairs(c.params...))
		if (err != nil) != (c.want != nil) {
			t.Errorf("CheckParams(%q) = %v, want error: %t", c.params, err, c.want != nil)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("CheckParams(%q) = %v, want %s in it", c.params, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("CheckParams(%q) = %v quotes a value", c.params, err)
		}
	}
}

func TestInfo(t *testing.T) {
	info := mssqldb.Engine{}.Info()
	if info.Name != "sqlserver" || len(info.Schemes) != 1 || info.Schemes[0] != "sqlserver" || info.Port != 1433 ||
		info.Database != "master" || info.DatabaseRequired || info.MaxLogins != 3 || info.ClosesSuperseded {
		t.Errorf("Info() = %+v", info)
	}
	for _, s := range []string{"sqlserver", "sqlserver-ee", "sqlserver-se", "sqlserver-ex", "sqlserver-web", "custom-sqlserver-ee"} {
		if !info.Accepts(s) {
			t.Errorf("a secret of %q is not taken", s)
		}
	}
	for _, s := range []string{"", "mysql", "custom-oracle-ee", "mssql", "SQLServer"} {
		if info.Accepts(s) {
			t.Errorf("a secret of %q is taken", s)
		}
	}
}
