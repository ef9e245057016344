package goora_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The meaning of the properties is tested in guide_test.go.
func TestParseURL(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:a/b-a1b2c3"
	tcp, tcps := pairs("PROTOCOL", "tcp"), pairs("PROTOCOL", "tcps")
	configtest.ParseURL(t, goora.Engine{}, configtest.Own, []configtest.URLCase{
		{"oracle:thin:@example.com:1521/ORCL?user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 1521, Database: "ORCL"}},
		{"oracle:thin:@//example.com:1521/ORCL?user=" + arn, driver.URL{SecretID: arn, Host: "example.com", Port: 1521, Database: "ORCL"}},
		{"oracle:thin:@//example.com/sales.example.com?user=id", driver.URL{SecretID: "id", Host: "example.com", Database: "sales.example.com"}},
		{"oracle:thin:@example.com:1521:ORCL?user=id", driver.URL{SecretID: "id", Host: "example.com", Port: 1521, Database: ":ORCL"}},
		{"oracle:thin:@[::1]:1521:ORCL?user=id", driver.URL{SecretID: "id", Host: "::1", Port: 1521, Database: ":ORCL"}},
		{"oracle:thin:@[::1]:1521/ORCL?user=id", driver.URL{SecretID: "id", Host: "::1", Port: 1521, Database: "ORCL"}},
		{"oracle:thin:@[::1]/ORCL?user=id", driver.URL{SecretID: "id", Host: "::1", Database: "ORCL"}},
		{"oracle:thin:@example.com:1521?user=id", driver.URL{SecretID: "id", Host: "example.com", Port: 1521}},
		{"oracle:thin:@example.com?user=id", driver.URL{SecretID: "id", Host: "example.com"}},
		{"oracle:thin:@//myhost?user=id", driver.URL{SecretID: "id", Host: "myhost"}},
		{"oracle:thin:@myhost:1521?user=id", driver.URL{SecretID: "id", Host: "myhost", Port: 1521}},
		{"oracle:thin:@localhost?user=id", driver.URL{SecretID: "id", Host: "localhost"}},
		{"oracle:thin:@?user=id", driver.URL{SecretID: "id"}},
		{"oracle:thin:@//?user=id", driver.URL{SecretID: "id"}},
		{"oracle:thin:@///ORCL?user=id", driver.URL{SecretID: "id", Database: "ORCL"}},
		{"oracle:thin:@tcps://example.com:2484/ORCL?user=id", driver.URL{SecretID: "id", Host: "example.com", Port: 2484, Database: "ORCL", Params: tcps}},
		{"oracle:thin:@TCP://example.com/ORCL?user=id", driver.URL{SecretID: "id", Host: "example.com", Database: "ORCL", Params: tcp}},
		{"oracle:thin:@//h:1/ORCL:dedicated?user=id", driver.URL{SecretID: "id", Host: "h", Port: 1, Database: "ORCL", Params: pairs("SERVER TYPE", "dedicated")}},
		{"oracle:thin:@//h:1/ORCL:pooled/inst1?user=id", driver.URL{SecretID: "id", Host: "h", Port: 1, Database: "ORCL", Params: pairs("SERVER TYPE", "pooled", "INSTANCE NAME", "inst1")}},
		{"oracle:thin:@//h:1/ORCL/inst1?user=id", driver.URL{SecretID: "id", Host: "h", Port: 1, Database: "ORCL", Params: pairs("INSTANCE NAME", "inst1")}},
		{"oracle:thin:@tcps://a,b:2484,[::1]/ORCL?user=id", driver.URL{SecretID: "id", Host: "a:2484,b:2484,[::1]", Database: "ORCL", Params: pairs("PROTOCOL", "tcps", "LOAD BALANCE", "true")}},
		{"oracle:thin:@//a,b/ORCL?user=id&load_balance=off", driver.URL{SecretID: "id", Host: "a,b", Database: "ORCL", Params: pairs("LOAD BALANCE", "off")}},
		{"oracle:thin:@//h/a%24b?user=id&stage=AWS%20X&region=r", driver.URL{SecretID: "id", Host: "h", Database: "a$b", Params: pairs("stage", "AWS X", "region", "r")}},
		{"oracle:thin:@//h/d?user=id&ssl=true&ssl_verify=false&prefetch_rows=10", driver.URL{SecretID: "id", Host: "h", Database: "d", Params: pairs("ssl", "true", "ssl_verify", "false", "prefetch_rows", "10")}},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=example.com)(PORT=1521))(CONNECT_DATA=(SERVICE_NAME=ORCL)))?user=id",
			driver.URL{SecretID: "id", Host: "example.com", Port: 1521, Database: "ORCL", Params: tcp}},
		{"oracle:thin:@( description = ( address_list = (load_balance=on)(failover=on) (address = (protocol=tcps)(host=a)(port=1)) (address=(protocol=TCPS)(port=2)(host=b)) ) ( connect_data = (server = DEDICATED) (sid = ORCL) ) )?user=id",
			driver.URL{SecretID: "id", Host: "a:1,b:2", Database: ":ORCL", Params: pairs("PROTOCOL", "tcps", "LOAD BALANCE", "on", "SERVER TYPE", "DEDICATED")}},
		{"oracle:thin:@(DESCRIPTION=(RETRY_COUNT=20)(RETRY_DELAY=3)(CONNECT_TIMEOUT=90)(TRANSPORT_CONNECT_TIMEOUT=3000ms)(ENABLE=BROKEN)(ADDRESS=(PROTOCOL=tcps)(HOST=::1)(PORT=1522))" +
			`(CONNECT_DATA=(SERVICE_NAME=x_y.adb.example.com)(INSTANCE_NAME=i1))(SECURITY=(SSL_SERVER_DN_MATCH=yes)(MY_WALLET_DIRECTORY="/w (1)")))?user=id&stage=S`,
			driver.URL{SecretID: "id", Host: "::1", Port: 1522, Database: "x_y.adb.example.com", Params: pairs("PROTOCOL", "tcps", "CONNECT TIMEOUT", "90",
				"TRANSPORT CONNECT TIMEOUT", "3000ms", "INSTANCE NAME", "i1", "WALLET", "/w (1)", "stage", "S")}},
	})
	const walletWithoutTLS = "oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(SECURITY=(WALLET_LOCATION=(SOURCE=(METHOD=FILE)(METHOD_DATA=(DIRECTORY=/w))))))?user=id&SSL=false"
	got, err := goora.Engine{}.ParseURL(walletWithoutTLS, configtest.Own)
	if want := pairs("PROTOCOL", "tcp", "WALLET", "/w", "SSL", "false"); err != nil || got.Host != "h" || !maps.Equal(got.Params, want) {
		t.Errorf("ParseURL(%q) = %+v, %v, want parameters %q", walletWithoutTLS, got, err, want)
	}
	if (goora.Engine{}).CheckParams(got.Params) == nil {
		t.Error("a wallet without TLS is taken")
	}
}

func TestParseURLFails(t *testing.T) {
	configtest.ParseURLFails(t, goora.Engine{}, configtest.Own, []configtest.ErrorCase{
		{"oracle:thin:@//h/d?user=id&CANARY", "a property has no value"},
		{"oracle:thin:@//h/d?user=id&PROGRAM=CANARY%zz", `"PROGRAM"`},
		{"oracle:thin:scott/CANARY@//h/d?user=id", "credentials"},
		{"oracle:thin:CANARY@h:1:d?user=id", "credentials"},
		{"oracle:thin:CANARY?user=id", `"@"`},
		{"oracle:oci:@CANARY?user=id", "oci"},
		{"oracle:CANARY", "oracle:thin:"},
		{"oracle:thin:@CANARY?user=id", "tnsnames.ora, which is not read: give host:port/service"},
		{"oracle:thin:@CANARY_high?user=id&TNS_ADMIN=/w", "tnsnames.ora, which is not read: give host:port/service"},
		{"oracle:thin:@ldap://CANARY/x?user=id", "LDAP"},
		{"oracle:thin:@ldaps://CANARY/x?user=id", "LDAP"},
		{"oracle:thin:@https://CANARY/x?user=id", "protocol"},
		{"oracle:thin:@//h:1/CANARY)(SID=x?user=id", "service or SID"},
		{"oracle:thin:@//h:1/CAN%41RY%29?user=id", "service or SID"},
		{"oracle:thin:@//h:1/CANARY%?user=id", "service"},
		{"oracle:thin:@h:1:CANARY)?user=id", "service or SID"},
		{"oracle:thin:@h:1:?user=id", "service or SID"},
		{"oracle:thin:@h:x:CANARY?user=id", "port"},
		{"oracle:thin:@//a;CANARY/d?user=id", "more than one list"},
		{"oracle:thin:@//a,,CANARY/d?user=id", "host"},
		{"oracle:thin:@//h(CANARY/d?user=id", "host"},
		{"oracle:thin:@//:1521/d?user=id", "port without a host"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(CONNECT_DATA=(SERVICE_NAME=CANARY))?user=id", "the descriptor is not of the form"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h)))CANARY?user=id", "after the descriptor"},
		{"oracle:thin:@(DESCRIPTION_LIST=(DESCRIPTION=(ADDRESS=(HOST=CANARY))))?user=id", "the descriptor is not of the form"},
		{"oracle:thin:@(DESCRIPTION=CANARY)?user=id", "the descriptor is not of the form"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h)CANARY))?user=id", "the descriptor is not of the form"},
		{"oracle:thin:@(DESCRIPTION=" + strings.Repeat("(A=", 100) + "CANARY" + strings.Repeat(")", 101) + "?user=id", "the descriptor is not of the form"},
		{"oracle:thin:@(DESCRIPTION=(CONNECT_DATA=(SID=d)))?user=id", "no ADDRESS"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(PORT=1)))?user=id", "no HOST"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=CAN ARY)))?user=id", "host"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h)(PORT=CANARY)))?user=id", "port"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=a))(ADDRESS=(PROTOCOL=tcps)(HOST=b)))?user=id", "different protocols"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=a)(KEY=CANARY)))?user=id", `"KEY"`},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS_LIST=(ADDRESS=(HOST=a)))(ADDRESS_LIST=(ADDRESS=(HOST=CANARY))))?user=id", "more than one ADDRESS_LIST"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(CONNECT_DATA=(SERVICE_NAME=a)(SID=CANARY)))?user=id", "more than one service or SID"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(CONNECT_DATA=(SERVICE_NAME=CAN ARY)))?user=id", "service or SID"},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(CONNECT_DATA=(FAILOVER_MODE=(TYPE=CANARY))))?user=id", `"FAILOVER_MODE"`},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(SECURITY=(SSL_SERVER_CERT_DN=\"CN=CANARY\")))?user=id", `"SSL_SERVER_CERT_DN"`},
		{"oracle:thin:@(DESCRIPTION=(ADDRESS=(HOST=h))(TYPE_OF_SERVICE=CANARY))?user=id", `"TYPE_OF_SERVICE"`},
		{"oracle:thin:@(DESCRIPTION=(FAILOVER=off)(ADDRESS=(HOST=h)))?user=id", `"FAILOVER"`},
		{"oracle:thin:@(DESCRIPTION=(SOURCE_ROUTE=on)(ADDRESS=(HOST=h)))?user=id", `"SOURCE_ROUTE"`},
		{"oracle:thin:@(DESCRIPTION=(CONNECT_TIMEOUT=1)(ADDRESS=(HOST=h)))?user=id&oracle.net.CONNECT_TIMEOUT=CANARY", `"oracle.net.CONNECT_TIMEOUT"`},
		{"oracle:thin:@(DESCRIPTION=(CONNECT_TIMEOUT=1)(ADDRESS=(HOST=h)))?user=id&oracle.net.CONNECT_TIMEOUT=1000", `"CONNECT_TIMEOUT" and "oracle.net.CONNECT_TIMEOUT"`},
	})
}

// capture prepares an endpoint and returns the configuration of a connection attempt.
func capture(t *testing.T, ep driver.Endpoint) *configurations.ConnectionConfig {
	t.Helper()
	config, err := tryCapture(t, ep)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func tryCapture(t *testing.T, ep driver.Endpoint) (*configurations.ConnectionConfig, error) {
	t.Helper()
	return configtest.Capture(t, func(configure func(*configurations.ConnectionConfig) error) (driver.Login, error) {
		return goora.Engine{Configure: configure}.Prepare(ep)
	})
}

// Only the dialer gets the zone of an address. The listener and the name in the certificate have no
// zone.
func TestIPv6Zone(t *testing.T) {
	var dialled, descriptor string
	stop := errors.New("stop")
	e := goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		descriptor = c.ConnectionData()
		c.RegisterDial(func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = address
			return nil, stop
		})
		return nil
	}}
	_, err := connect(t, e, driver.Endpoint{Host: "fe80::1%eth0", Port: 1521, Database: "ORCL"}, goodPassword)
	if dialled != "[fe80::1%eth0]:1521" || !strings.Contains(descriptor, "(HOST=fe80::1)") {
		t.Errorf("dialled %s with descriptor %s", dialled, descriptor)
	}
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), "[fe80::1%eth0]:1521") {
		t.Errorf("Connect = %v, want the dialer's error and the address", err)
	}
}

var descriptorForm = regexp.MustCompile(`^\(DESCRIPTION=((?:\(ADDRESS=\(PROTOCOL=tcps?\)\(HOST=[\w.:-]+\)\(PORT=\d+\)\))+)` +
	`\(CONNECT_DATA=\((SERVICE_NAME|SID)=([\w.$#-]+)\)(?:\(SERVER=(?:dedicated|shared|pooled)\))?(?:\(INSTANCE_NAME=[\w.$#-]+\))?` +
	`\(CID=\(PROGRAM=[^()=]*\)\(HOST=[^()=]*\)\(USER=[^()=]*\)\)\)\)$`)

// Whatever a URL contains, the descriptor has one form, the servers are those that were parsed, and
// TLS is on if the URL asked for it.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"@h:1/d?user=id", "@//h:1/a%29%28SID=x?user=id", "@[::1]:3:SID?user=id&ssl=true", "@tcps://a,b:2/d:pooled/i?user=a/b&wallet_location=/w",
		"@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=h)(PORT=1))(CONNECT_DATA=(SERVICE_NAME=d)(SERVER=shared)))?user=id&program=)(SID=x",
		"@(DESCRIPTION=(LOAD_BALANCE=off)(ADDRESS_LIST=(ADDRESS=(HOST=a))(ADDRESS=(HOST=::1)(PORT=2)))(CONNECT_DATA=(SID=d)))?user=id&os_user=%28",
		"@//h?user=id&oracle.net.CONNECT_TIMEOUT=1&oracle.net.ssl_server_dn_match=no&instance_name=i", "@//h%25eth0/d?user=id",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := goora.Engine{}.ParseURL("oracle:thin:"+raw, configtest.NotOwn)
		if err != nil {
			return
		}
		ep := configtest.EndpointOf(t, goora.Engine{}, u)
		if ep.Database == "" {
			ep.Database = "from_the_secret"
		}
		c, err := tryCapture(t, ep)
		if err != nil {
			return // what is unknown or not installed
		}
		sent := c.ConnectionData()
		m := descriptorForm.FindStringSubmatch(sent)
		if m == nil {
			t.Fatalf("the descriptor is %q", sent)
		}
		want := "SERVICE_NAME " + ep.Database
		if name, ok := strings.CutPrefix(ep.Database, ":"); ok {
			want = "SID " + name
		}
		if got := m[2] + " " + m[3]; got != want {
			t.Errorf("the descriptor names %s, want %s", got, want)
		}
		hosts := strings.Split(ep.Host, ",")
		if len(c.Servers) != len(hosts) || strings.Count(m[1], "(ADDRESS=") != len(hosts) {
			t.Fatalf("%d servers for %q", len(c.Servers), ep.Host)
		}
		for _, s := range c.Servers {
			if len(hosts) == 1 && (s.Addr != ep.Host || s.Port != ep.Port) {
				t.Errorf("server %s:%d, want %s:%d", s.Addr, s.Port, ep.Host, ep.Port)
			}
			if len(hosts) > 1 && !strings.Contains(","+ep.Host+",", ","+net.JoinHostPort(s.Addr, strconv.Itoa(s.Port))+",") && s.Port != ep.Port {
				t.Errorf("server %s:%d is not in %s", s.Addr, s.Port, ep.Host)
			}
		}
		said := map[string]string{}
		for name, value := range u.Params {
			said[goora.Words.Fold(name)] = value
		}
		asked := strings.EqualFold(said["PROTOCOL"], "tcps")
		switch strings.ToLower(said["SSL"]) {
		case "true", "enable", "enabled", "on", "yes":
			asked = true
		}
		if asked != (c.TLSConfig != nil && c.Protocol == "tcps" && c.SSL) || asked != strings.Contains(sent, "(PROTOCOL=tcps)") {
			t.Errorf("TLS asked for: %t, protocol %s", asked, c.Protocol)
		}
		if c.TLSConfig != nil && c.TLSConfig.InsecureSkipVerify && said["SSL VERIFY"] == "" {
			t.Error("nothing is verified")
		}
		if strings.ContainsAny(c.Language+c.Territory, `'"`) {
			t.Errorf("language %q, territory %q", c.Language, c.Territory)
		}
	})
}

// Every value of the endpoint that is accepted reaches go-ora unchanged.
func FuzzDescriptor(f *testing.F) {
	f.Add("h", "d", "i")
	f.Add("::1", ":SID", "x)(SID=y")
	f.Add("a:1,b:2", "x)(SERVER=", "i")
	f.Fuzz(func(t *testing.T, host, database, instance string) {
		c, err := tryCapture(t, driver.Endpoint{Host: host, Port: 7, Database: database, Params: pairs("INSTANCE NAME", instance)})
		if err != nil {
			return
		}
		sent := c.ConnectionData()
		if !descriptorForm.MatchString(sent) {
			t.Fatalf("the descriptor is %q", sent)
		}
		name := strings.TrimPrefix(database, ":")
		if c.InstanceName != instance || c.ServiceName+c.SID != name || !strings.Contains(sent, fmt.Sprintf("=%s)(INSTANCE_NAME=%s)", name, instance)) {
			t.Errorf("%q and %q became %q", database, instance, sent)
		}
	})
}
