package goora_test

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// If the secret asks for TLS, the connection has TLS, without verification unless parameters or
// options ask for it. An error says that the secret asks for TLS.
func TestEncrypt(t *testing.T) {
	for _, c := range []struct {
		params []string
		tls    *tls.Config
		want   bool // TLS
		verify bool
	}{
		{nil, nil, true, false},
		{[]string{"SSL", "true"}, nil, true, true},
		{[]string{"PROTOCOL", "tcps"}, nil, true, true},
		{[]string{"SSL", "true", "SSL VERIFY", "false"}, nil, true, false},
		{nil, &tls.Config{MinVersion: tls.VersionTLS12}, true, true},
	} {
		ep := driver.Endpoint{Host: "h", Port: 1521, Database: "ORCL", Params: pairs(c.params...), TLS: c.tls, Encrypt: true}
		config := capture(t, ep)
		if got := config.TLSConfig; (got != nil) != c.want || got == nil || got.InsecureSkipVerify == c.verify || config.Protocol != "tcps" {
			t.Errorf("%q: TLS %+v over %s, want TLS %t, verified %t", c.params, got, config.Protocol, c.want, c.verify)
		}
	}
	s := start(t, nil)
	ep := endpoint(s)
	ep.Encrypt = true
	if _, err := connect(t, goora.Engine{}, ep, goodPassword); err == nil || !strings.Contains(err.Error(), `the secret's "ssl" asks for TLS`) {
		t.Errorf("Connect without TLS = %v, want an error that names what asks for TLS", err)
	}
	wantLogins(t, s, 0, 0)

	off := goora.Engine{}.Info().TurnsTLSOff
	if off == nil {
		t.Fatal("Info has no TurnsTLSOff: a secret that asks for TLS is an error")
	}
	for _, c := range []struct {
		params []string
		want   bool
	}{
		{nil, false}, {[]string{"ssl", "off"}, true}, {[]string{"SSL", "true"}, false}, {[]string{"protocol", "tcp"}, true}, {[]string{"PROTOCOL", "TCPS"}, false},
	} {
		if got := off(pairs(c.params...)); got != c.want {
			t.Errorf("TurnsTLSOff(%q) = %t, want %t", c.params, got, c.want)
		}
	}
}

// Info names the file of a wallet, so that it is read again when it changes. Prepare reads it.
func TestFilesAreReadByPrepare(t *testing.T) {
	certs := testca.New("h")
	key, _ := certs.IssueRSA("client")
	_, another := certs.IssueRSA("another client")
	ep := func(wallet string) driver.Endpoint {
		return driver.Endpoint{Host: "h", Port: 1, Database: "d", Params: pairs("SSL", "true", "WALLET", wallet)}
	}
	configtest.PrepareFails(t, goora.Engine{}, []configtest.PrepareCase{
		{"no wallet", ep("/no-such-folder"), `"WALLET"`},
		{"another key", ep(testca.Wallet(t, key, another, certs.Authority.Raw)), `"WALLET"`},
	})
	// The key of a certificate that is requested and not issued yet.
	if _, err := (goora.Engine{}).Prepare(ep(testca.Wallet(t, key, certs.Authority.Raw))); err != nil {
		t.Error(err)
	}
	files := goora.Engine{}.Info().Files
	if files == nil {
		t.Fatal("Info has no Files: what the wallet holds is used until the program ends")
	}
	for wallet, want := range map[string]string{"/w": filepath.Join("/w", "cwallet.sso"), "/w/my.sso": "/w/my.sso"} {
		if got := files(pairs("ssl", "true", "wallet", wallet)); !slices.Equal(got, []string{want}) {
			t.Errorf("Files of %s = %q, want %s", wallet, got, want)
		}
	}
	if got := files(pairs("SSL", "true")); len(got) != 0 {
		t.Errorf("Files without a wallet = %q", got)
	}
}

// The database is a SID if a parameter says so, or if it begins with a colon.
func TestSIDByParameter(t *testing.T) {
	for _, c := range []struct {
		database     string
		params       []string
		sid, service string
	}{
		{"ORCL", nil, "", "ORCL"},
		{":ORCL", nil, "ORCL", ""},
		{"ORCL", []string{"dbname_is", "sid"}, "ORCL", ""},
		{":ORCL", []string{"DBNAME IS", "SID"}, "ORCL", ""},
		{"ORCL", []string{"dbname_is", "service"}, "", "ORCL"},
	} {
		config := capture(t, driver.Endpoint{Host: "h", Port: 1, Database: c.database, Params: pairs(c.params...)})
		if config.SID != c.sid || config.ServiceName != c.service {
			t.Errorf("%s with %q: SID %q, service %q", c.database, c.params, config.SID, config.ServiceName)
		}
	}
	configtest.PrepareFails(t, goora.Engine{}, []configtest.PrepareCase{
		{"contradiction", driver.Endpoint{Host: "h", Port: 1, Database: ":ORCL", Params: pairs("dbname_is", "service")}, `"DBNAME IS"`},
	})
}

// The error says first what is wrong with TLS and with which host, and last which parameter changes
// it.
func TestTLSErrorsSayWhatToDo(t *testing.T) {
	certs, old := testca.New("db.test"), testca.New("localhost").Server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	for _, c := range []struct {
		name   string
		server *tls.Config
		params []string
		want   []string
	}{
		{"another name", certs.Server, []string{"SSL", "true", "WALLET", testca.Wallet(t, nil, certs.Authority.Raw)}, []string{"the server at 127.0.0.1:", " has a certificate for another name", "a ServerName in driver.Options.TLS"}},
		{"unknown authority", testca.New("127.0.0.1").Server, []string{"SSL", "true"}, []string{"the server at 127.0.0.1:", " has a certificate by an unknown authority", `"WALLET" or driver.Options.TLS`}},
		{"TLS 1.0", old, []string{"SSL", "true"}, []string{"the server at 127.0.0.1:", "has no version of TLS that is allowed", "a MinVersion in driver.Options.TLS"}},
	} {
		s := start(t, &tnsserver.Options{TLS: c.server})
		_, err := connect(t, goora.Engine{}, endpoint(s, c.params...), goodPassword)
		if err == nil {
			t.Errorf("%s: Connect succeeded", c.name)
			continue
		}
		for i, want := range c.want {
			if got := err.Error(); !strings.Contains(got, want) || i == 0 && !strings.HasPrefix(got, want) {
				t.Errorf("%s: Connect = %v, want %q in it, the first in front", c.name, err, want)
			}
		}
	}
}
