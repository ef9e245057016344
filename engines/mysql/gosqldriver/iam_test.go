package gosqldriver_test

import (
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// auth=iam requires TLS, verifies the server unless tls=skip-verify is given, and allows sending
// the token in plaintext over TLS.
func TestParametersForIAM(t *testing.T) {
	for _, e := range []gosqldriver.Engine{{}, {MariaDB: true}} {
		for _, tt := range []struct {
			params, want []string // want of an error is its parameter alone
		}{
			{nil, pairsOf("tls", "true")},
			{pairsOf("tls", "preferred"), pairsOf("tls", "true")},
			{pairsOf("tls", "1"), pairsOf("tls", "1")},
			{pairsOf("tls", "skip-verify"), pairsOf("tls", "skip-verify")},
			{pairsOf("ssl-ca", "a.pem"), pairsOf("ssl-ca", "a.pem")}, // means tls=true
			{pairsOf("tls", "false"), pairsOf("tls=false")},
			{pairsOf("allowCleartextPasswords", "false"), pairsOf("allowCleartextPasswords=false")},
			{pairsOf("allowCleartextPasswords", "true"), pairsOf("tls", "true")},
		} {
			before := pairs(tt.params...)
			got, err := e.Info().IAM(before)
			if len(tt.want) == 1 {
				if err == nil || !strings.Contains(err.Error(), tt.want[0]) {
					t.Errorf("%q: %q and the error %v", tt.params, got, err)
				}
				continue
			}
			want := pairs(append(tt.want, "allowCleartextPasswords", "true")...)
			if err != nil || !maps.Equal(got, want) || !maps.Equal(before, pairs(tt.params...)) {
				t.Errorf("%q: %q and the error %v, want %q", tt.params, got, err, want)
			}
			if err := e.CheckParams(got); err != nil {
				t.Errorf("CheckParams(%q) = %v", got, err)
			}
		}
	}
}

// A token is sent only to a server that has TLS and passes the verification.
func TestATokenIsSentOverTLSOnly(t *testing.T) {
	certs, others := testca.New("localhost", "127.0.0.1"), testca.New("localhost", "127.0.0.1")
	file := certs.File(t)
	for _, c := range []struct {
		name   string
		server *mysqlserver.Server
		params []string
		tls    *tls.Config
		want   string // part of an error; "": accepted
	}{
		{"verified", &mysqlserver.Server{TLS: certs.Server}, pairsOf("ssl-ca", file), nil, ""},
		{"another first method", &mysqlserver.Server{TLS: certs.Server, Method: mysqlserver.CachingSHA2}, pairsOf("ssl-ca", file), nil, ""},
		{"verified by the options", &mysqlserver.Server{TLS: certs.Server}, nil, &tls.Config{RootCAs: certs.Pool}, ""},
		{"not verified", &mysqlserver.Server{TLS: certs.Server}, pairsOf("tls", "skip-verify"), nil, ""},
		{"another authority", &mysqlserver.Server{TLS: others.Server}, pairsOf("ssl-ca", file), nil, `has a certificate by an unknown authority`},
		{"another authority, options that do not verify", &mysqlserver.Server{TLS: others.Server}, nil, &tls.Config{InsecureSkipVerify: true}, `has a certificate by an unknown authority`},
		{"no TLS", &mysqlserver.Server{}, nil, nil, "has no TLS, and the data source name"},
		{"no TLS, skip-verify", &mysqlserver.Server{}, pairsOf("tls", "skip-verify"), nil, "has no TLS, and the data source name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const token = "db.example.com:3306/?Action=connect&DBUser=app&X-Amz-Signature=0123"
			c.server.SwitchTo = mysqlserver.ClearPassword
			c.server.SetPassword(t, "app_user", token)
			s := c.server.Start(t)
			ep := endpoint(s, c.params...)
			params, err := gosqldriver.Engine{}.Info().IAM(ep.Params)
			if err != nil {
				t.Fatal(err)
			}
			ep.Params, ep.TLS, ep.IAM = params, c.tls, true
			conn, err := connect(t, gosqldriver.Engine{}, ep, token)
			if conn != nil {
				_ = conn.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Connect = %v, want an error with %q", err, c.want)
			}
			seen := s.Seen()
			var want []mysqlserver.Login
			if c.want == "" {
				want = []mysqlserver.Login{{TLS: true, User: "app_user", Database: "app", Good: true, Clear: token}}
			}
			if !slices.Equal(seen, want) {
				t.Errorf("the server saw %+v, want %+v", seen, want)
			}
			s.WaitClosed(t)
		})
	}
}
