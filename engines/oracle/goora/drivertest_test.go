package goora_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name  string
		names []string // in the certificate; none: TCP
		opts  tnsserver.Options
	}{
		{"TCP", nil, tnsserver.Options{}},
		{"TCP, markers before errors", nil, tnsserver.Options{BreakOnError: true}},
		{"TCPS", []string{"127.0.0.1"}, tnsserver.Options{}},
		{"TCPS, other names", []string{"localhost", "::1"}, tnsserver.Options{}},
		{"TCPS, second handshake", []string{"127.0.0.1"}, tnsserver.Options{ResendTLS: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			certs := testca.New(c.names...)
			params := ""
			if c.names != nil {
				c.opts.TLS, params = certs.Server, "SSL=true&ssl_verify=false"
			}
			c.opts.IPv6 = loopback.HasIPv6()
			s := tnsserver.New(t, &c.opts)
			wallet := testca.Wallet(t, nil, certs.Authority.Raw)
			d := drivertest.Server{
				Engine: goora.Engine{}, Host: s.Host, Port: s.Port, Database: "ORCL", Params: params,
				Query: "SELECT 1 FROM DUAL", ConnType: "*go_ora.Connection",
				SetPassword: func(_ testing.TB, user, password string) { s.SetPassword(user, password) },
				Logins:      func(_ testing.TB, user string) (int, int) { return s.Logins(user) },
				Refuse:      func(_ testing.TB, user string) { s.Lock(user, true) },
				TLS: &drivertest.TLS{
					Names: c.names, Roots: certs.Pool, OnlyIfAsked: true,
					Verified: "SSL=true&WALLET=" + wallet, Unknown: "SSL=true", Off: "SSL=false",
					URL: func(address, id string) string {
						return "oracle:thin:@tcps://" + address + "/ORCL?user=" + id + "&oracle.net.wallet_location=" + wallet
					},
				},
			}
			if c.opts.IPv6 {
				d.HostIPv6 = "::1"
			}
			drivertest.Run(t, d)
		})
	}
}
