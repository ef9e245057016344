package pgxv5_test

import (
	"crypto/tls"
	"maps"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// auth=iam requires TLS, and verifies the server unless sslmode=require is given.
func TestParametersForIAM(t *testing.T) {
	iam := pgxv5.Engine{}.Info().IAM
	for _, tt := range []struct {
		params, want []string // want nil: an error
	}{
		{nil, pairsOf("sslmode", "verify-full")},
		{pairsOf("sslmode", "prefer"), pairsOf("sslmode", "verify-full")},
		{pairsOf("sslmode", "require"), pairsOf("sslmode", "require")},
		{pairsOf("sslmode", "verify-ca", "sslrootcert", "a.pem"), pairsOf("sslmode", "verify-ca", "sslrootcert", "a.pem")},
		{pairsOf("sslrootcert", "a.pem", "application_name", "x"), pairsOf("sslmode", "verify-full", "sslrootcert", "a.pem", "application_name", "x")},
		{pairsOf("sslmode", "disable"), nil},
	} {
		before := pairs(tt.params...)
		got, err := iam(before)
		if tt.want == nil {
			if err == nil || !strings.Contains(err.Error(), "sslmode=disable") {
				t.Errorf("%q: %q and the error %v", tt.params, got, err)
			}
			continue
		}
		if err != nil || !maps.Equal(got, pairs(tt.want...)) || !maps.Equal(before, pairs(tt.params...)) {
			t.Errorf("%q: %q and the error %v, want %q", tt.params, got, err, tt.want)
		}
		if err := (pgxv5.Engine{}).CheckParams(got); err != nil {
			t.Errorf("CheckParams(%q) = %v", got, err)
		}
	}
}

// A token is sent only to a server that has TLS and passes the verification.
func TestATokenIsSentOverTLSOnly(t *testing.T) {
	certs, others := testca.New("localhost", "127.0.0.1"), testca.New("localhost", "127.0.0.1")
	token := strings.Repeat("t0k3n/%?&=", 150) // longer than a token is
	file := certs.File(t)
	for _, c := range []struct {
		name   string
		server *pgserver.Server
		params []string
		tls    *tls.Config
		want   string // part of an error, or "tls": accepted
	}{
		{"verified", &pgserver.Server{TLS: certs.Server}, pairsOf("sslrootcert", file), nil, "tls"},
		{"verified by the options", &pgserver.Server{TLS: certs.Server}, nil, &tls.Config{RootCAs: certs.Pool}, "tls"},
		{"not verified", &pgserver.Server{TLS: certs.Server}, pairsOf("sslmode", "require"), nil, "tls"},
		{"another authority", &pgserver.Server{TLS: others.Server}, pairsOf("sslrootcert", file), nil, "the certificate is signed by an authority that is not in the file of sslrootcert"},
		{"another authority, options that do not verify", &pgserver.Server{TLS: others.Server}, nil, &tls.Config{InsecureSkipVerify: true}, "the certificate is signed by an authority that is not one of the system's; name the authority's certificate by sslrootcert"},
		{"no TLS", &pgserver.Server{}, nil, nil, "the server does not have it, and auth=iam requires it"},
		{"no TLS, require", &pgserver.Server{}, pairsOf("sslmode", "require"), nil, "the server does not have it, and sslmode=require requires it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.CheckPasswords = true
			c.server.SetPassword(t, "app", token)
			ep := endpoint(c.server.Start(t), c.params...)
			params, err := pgxv5.Engine{}.Info().IAM(ep.Params)
			if err != nil {
				t.Fatal(err)
			}
			ep.Params, ep.TLS, ep.IAM = params, c.tls, true
			conn, err := logintest.Connect(t, pgxv5.Engine{}, ep, "app", token)
			if conn != nil {
				_ = conn.Close()
			}
			if (err == nil) != (c.want == "tls") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Connect = %v, want %q", err, c.want)
			}
			if n := len(c.server.Seen()); (n == 1) != (c.want == "tls") || n > 0 && !c.server.Seen()[0].TLS {
				t.Errorf("the server saw %d logins", n)
			}
			c.server.WaitClosed(t)
		})
	}
}

// The answers of Aurora, where PAM checks a token, and of RDS Proxy.
func TestARejectedTokenIsRejected(t *testing.T) {
	for name, c := range map[string]struct {
		err       *pgserver.Error
		elsewhere bool
	}{
		"Aurora":    {pgserver.NewError("28000", "auth_failed", "PAM authentication failed"), true},
		"RDS":       {pgserver.NewError("28000", "auth_failed", `PAM authentication failed for user "app"`), true},
		"RDS Proxy": {pgserver.NewError("28000", "", "The IAM authentication failed for the role app. Check the IAM token for this role and try again."), false},
	} {
		s := (&pgserver.Server{Check: func(pgserver.Login) *pgserver.Error { return c.err }}).Start(t)
		_, err := logintest.Connect(t, pgxv5.Engine{}, endpoint(s), "app", canary)
		if e := (pgxv5.Engine{}); !e.Rejected(err) || e.CheckedElsewhere(err) != c.elsewhere {
			t.Errorf("%s: %v: rejected %t, checked elsewhere %t; want true, %t", name, err, e.Rejected(err), e.CheckedElsewhere(err), c.elsewhere)
		}
	}
}
