package drivertest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// TLS describes the TLS of a [Server], and how to ask its engine for TLS. The checks of TLS do not use
// Server.Params.
type TLS struct {
	// Names are those of "localhost", "127.0.0.1" and "::1" that the server's certificate is
	// valid for. At least one of the three must be missing, so that the suite has a wrong name.
	// Empty means that the server has no TLS; everything that asks for TLS must then fail.
	Names []string
	// Roots has the authority that signed the certificate. It must not be one of the system's.
	Roots *x509.CertPool

	// Verified are engine parameters that ask for TLS, with the server verified by the authority
	// in Roots: "sslmode=verify-full&sslrootcert=ca.pem".
	Verified string
	// Unknown are engine parameters that ask for TLS, with the server verified by other
	// authorities, such as the system's: "sslmode=verify-full".
	Unknown string
	// IfAvailable are engine parameters that use TLS if the server has it: "sslmode=prefer". With
	// Options.TLS, TLS is required nevertheless. Empty skips this check, for an engine without
	// such parameters.
	IfAvailable string
	// Off are engine parameters that turn TLS off, even if Options.TLS is set: "sslmode=disable".
	// Empty skips this check, for a server that requires TLS.
	Off string
	// URL returns a JDBC URL, without "jdbc-secretsmanager:", that asks for the same as Verified.
	// address is "host:port".
	URL func(address, secretID string) string

	// OnlyIfAsked says that there is no TLS unless it is asked for. It is for Oracle and Db2.
	// Their servers have TLS on a separate port, so a client cannot ask the server for it.
	OnlyIfAsked bool
	// NoOptions says that Options.TLS is an error. It is for Db2, whose drivers accept a string
	// and no *tls.Config.
	NoOptions bool
}

// An asking is a way to ask for TLS that is verified by the right authority.
type asking struct {
	name    string
	params  string
	options *tls.Config
	url     bool // TLS.URL asks for it
	ssl     bool // the secret's "ssl" is true
}

// askings returns all ways that the engine has.
func (s Server) askings() []asking {
	list := []asking{{name: "parameters", params: s.TLS.Verified}, {name: "JDBC URL", url: true}}
	if !s.TLS.NoOptions {
		list = append(list, asking{name: "Options.TLS", options: &tls.Config{RootCAs: s.TLS.Roots}})
	}
	return list
}

// insisting asks for TLS with Options.TLS, although the parameters leave it to the server.
func (s Server) insisting() asking {
	return asking{name: "Options.TLS, with parameters that leave it to the server", params: s.TLS.IfAvailable, options: &tls.Config{RootCAs: s.TLS.Roots}}
}

// tls checks which connections have TLS. A proxy sees whether a client begins TLS, and whether the
// user's name goes over the wire in clear text, as it does in every login without TLS.
func (s Server) tls(t *testing.T) {
	if len(s.TLS.Names) == 0 {
		s.tlsWithout(t)
		return
	}
	if !slices.ContainsFunc(hosts(), s.hasName) || !slices.ContainsFunc(hosts(), func(h string) bool { return !s.hasName(h) }) {
		t.Fatalf("of the hosts %q some have to be in the certificate, and some not; TLS.Names is %q", hosts(), s.TLS.Names)
	}
	if s.TLS.OnlyIfAsked {
		t.Run("not asked for", s.tlsOnlyIfAsked)
	} else {
		t.Run("if available", s.tlsIfAvailable)
		if s.TLS.Off != "" {
			t.Run("off", s.tlsOff)
		}
	}
	for _, how := range s.askings() {
		t.Run("asked by "+how.name, func(t *testing.T) { s.tlsAsked(t, how) })
	}
	if s.TLS.IfAvailable != "" {
		how := s.insisting()
		t.Run("asked by "+how.name, func(t *testing.T) {
			s.login(t, s.newProxy(t), s.right(), how, Passwords[0]).wantTLS()
			s.login(t, s.newProxy(t), s.wrong(), how, Passwords[0]).wantRefused()
		})
	}
	t.Run("unknown authority", s.tlsUnknownAuthority)
	if s.supportsSSL() {
		t.Run("asked by the secret", s.tlsAskedBySecret)
	}
	if s.TLS.NoOptions {
		t.Run("Options.TLS", s.tlsNoOptions)
	} else {
		t.Run("name in Options.TLS", s.tlsServerName)
		t.Run("Options.TLS is not changed", s.tlsCloned)
	}
}

// hosts returns the names of this machine with which a client reaches a proxy.
func hosts() []string {
	hosts := []string{"localhost", "127.0.0.1"}
	if loopback.HasIPv6() {
		hosts = append(hosts, "::1")
	}
	return hosts
}

func (s Server) hasName(host string) bool { return slices.Contains(s.TLS.Names, host) }

// right returns a host that is in the certificate, wrong one that is not.
func (s Server) right() string { return s.host(true) }
func (s Server) wrong() string { return s.host(false) }

func (s Server) host(inCertificate bool) string {
	i := slices.IndexFunc(hosts(), func(h string) bool { return s.hasName(h) == inCertificate })
	return hosts()[max(i, 0)] // without a certificate, any host will do
}

// A login goes through a proxy. It has its own user.
type login struct {
	*client
	t *testing.T
	s Server
	p *proxy
}

// login opens the database through a proxy. The secret, or a JDBC URL, has the host.
func (s Server) login(t *testing.T, p *proxy, host string, how asking, password string) *login {
	t.Helper()
	if how.url {
		return s.loginFrom(t, p, "JDBC URL", host, how, password)
	}
	return s.loginFrom(t, p, "secret", host, how, password)
}

// loginFrom opens the database through a proxy. from says whether the host is in the secret, the data
// source name or a JDBC URL. If the host is not in the secret, the secret has another host: one that is
// in the certificate if host is not, and the other way round.
func (s Server) loginFrom(t *testing.T, p *proxy, from, host string, how asking, password string) *login {
	t.Helper()
	user := s.newUser(t, Passwords[0])
	inSecret, params := host, how.params
	if from != "secret" {
		inSecret = s.host(!s.hasName(host))
	}
	if from == "data source name" {
		params += "&host=" + host
	}
	s.Params = ""
	dsn := s.dsn(user, params)
	if from == "JDBC URL" {
		dsn = "jdbc-secretsmanager:" + s.TLS.URL(net.JoinHostPort(host, strconv.Itoa(p.Port)), dsn)
	}
	db := s.connectAs(t, user, password, dsn, how.options, map[string]any{"host": inSecret, "port": p.Port, "ssl": how.ssl})
	return &login{client: db, t: t, s: s, p: p}
}

func (l *login) query() error { return l.s.query(l.t, l.client) }

// wantTLS checks that a login is accepted, and that each connection has TLS.
func (l *login) wantTLS() {
	l.t.Helper()
	if err := l.query(); err != nil {
		l.t.Errorf("query: %v", err)
	}
	l.s.wantLogins(l.t, l.client, 1, 0)
	l.nothingShown()
	for _, r := range l.p.recordings(l.t) {
		if !r.beginsTLS() {
			l.t.Error("a connection began no TLS")
		}
	}
}

// wantPlain checks that a login is accepted in clear text: the proxy sees the user's name once.
func (l *login) wantPlain() {
	l.t.Helper()
	if err := l.query(); err != nil {
		l.t.Errorf("query: %v", err)
	}
	l.s.wantLogins(l.t, l.client, 1, 0)
	l.wantShown(1)
}

func (l *login) wantShown(want int) {
	l.t.Helper()
	shown := 0
	for _, r := range l.p.recordings(l.t) {
		if r.shows(l.user) {
			shown++
		}
	}
	if shown != want {
		l.t.Errorf("the proxy saw the user's name on %d connections, want %d", shown, want)
	}
}

// wantRejected checks that the server rejects one login, and that no login is in clear text.
func (l *login) wantRejected() {
	l.t.Helper()
	l.s.wantRejected(l.t, l.client, l.query())
	l.s.wantLogins(l.t, l.client, 0, 1)
	l.nothingShown()
}

// wantRefused checks that the engine returns an error without a login.
func (l *login) wantRefused() {
	l.t.Helper()
	l.s.wantOther(l.t, l.client, l.query())
	l.s.wantLogins(l.t, l.client, 0, 0)
	l.nothingShown()
}

// nothingShown checks that the proxy saw neither the user's name nor a query.
func (l *login) nothingShown() {
	l.t.Helper()
	if l.p.Dialled() == 0 {
		l.t.Error("no connection reached the proxy")
	}
	for _, r := range l.p.recordings(l.t) {
		if r.shows(l.user) {
			l.t.Error("a login went out in clear text")
		}
		if r.shows(l.s.Query) {
			l.t.Error("a query went out in clear text")
		}
	}
}

// tlsIfAvailable connects to a server that has TLS without asking for TLS. The engine must use TLS without
// verification. It must not fall back on clear text, whatever goes wrong.
func (s Server) tlsIfAvailable(t *testing.T) {
	nothing := asking{}
	for _, host := range []string{s.right(), s.wrong()} {
		t.Run(host, func(t *testing.T) { s.login(t, s.newProxy(t), host, nothing, Passwords[0]).wantTLS() })
	}
	t.Run("rejected password", func(t *testing.T) {
		s.login(t, s.newProxy(t), s.right(), nothing, "not-"+Passwords[0]).wantRejected()
	})
	if !s.NoDatabaseCheck {
		t.Run("no such database", func(t *testing.T) {
			l := s.login(t, s.newProxy(t), s.right(), asking{params: "dbname=no_such_database"}, Passwords[0])
			s.wantOther(t, l.client, l.query())
			l.nothingShown()
		})
	}
	if s.Refuse != nil {
		t.Run("refused for another reason", func(t *testing.T) {
			l := s.login(t, s.newProxy(t), s.right(), nothing, Passwords[0])
			s.Refuse(t, l.user)
			s.wantOther(t, l.client, l.query())
			l.nothingShown()
		})
	}
	s.tlsFaults(t, nothing)
}

// tlsFaults checks that each fault of a TLS connection is an error.
func (s Server) tlsFaults(t *testing.T, how asking) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			p := s.newFaultyProxy(t, f)
			l := s.login(t, p, s.right(), how, Passwords[0])
			s.wantOther(t, l.client, l.query())
			if f != cutLogin { // the server may have received a login that was cut
				s.wantLogins(t, l.client, 0, 0)
			}
			l.nothingShown()
			if !slices.ContainsFunc(p.recordings(t), func(r *recording) bool { return r.hit }) {
				t.Error("nothing went wrong with a connection: there was no handshake")
			}
		})
	}
}

func (s Server) tlsOnlyIfAsked(t *testing.T) {
	p := s.newProxy(t)
	l := s.login(t, p, s.right(), asking{}, Passwords[0])
	s.wantOther(t, l.client, l.query())
	s.wantLogins(t, l.client, 0, 0)
	for _, r := range p.recordings(t) {
		if r.beginsTLS() {
			t.Error("a connection began TLS")
		}
	}
}

func (s Server) tlsOff(t *testing.T) {
	s.login(t, s.newProxy(t), s.right(), asking{params: s.TLS.Off}, Passwords[0]).wantPlain()
	if !s.TLS.NoOptions {
		s.login(t, s.newProxy(t), s.right(), asking{params: s.TLS.Off, options: &tls.Config{RootCAs: s.TLS.Roots}}, Passwords[0]).wantPlain()
	}
}

// tlsAsked checks that the server is verified for the host that is dialled, whether the host comes from
// the secret, the data source name or a URL. It also checks that nothing makes the engine connect
// without TLS.
func (s Server) tlsAsked(t *testing.T, how asking) {
	sources := []string{"secret", "data source name"}
	if how.url {
		sources = []string{"JDBC URL"}
	}
	for _, from := range sources {
		for _, host := range hosts() {
			t.Run("host "+host+" from the "+from, func(t *testing.T) {
				l := s.loginFrom(t, s.newProxy(t), from, host, how, Passwords[0])
				if s.hasName(host) {
					l.wantTLS()
				} else {
					l.wantRefused()
				}
			})
		}
	}
	if host := withZone("::1"); host != "" && !how.url && s.hasName("::1") {
		t.Run("IPv6 with a zone", func(t *testing.T) { s.login(t, s.newProxy(t), host, how, Passwords[0]).wantTLS() })
	}
	t.Run("rejected password", func(t *testing.T) {
		s.login(t, s.newProxy(t), s.right(), how, "not-"+Passwords[0]).wantRejected()
	})
	s.tlsFaults(t, how)
}

// withZone returns an address with the zone of the loopback interface, or "" if there is none.
// Certificates have no zones.
func withZone(address string) string {
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 && slices.Contains(hosts(), address) {
			return address + "%" + i.Name
		}
	}
	return ""
}

func (s Server) tlsUnknownAuthority(t *testing.T) {
	s.login(t, s.newProxy(t), s.right(), asking{params: s.TLS.Unknown}, Passwords[0]).wantRefused()
	if !s.TLS.NoOptions {
		s.login(t, s.newProxy(t), s.right(), asking{options: &tls.Config{RootCAs: x509.NewCertPool()}}, Passwords[0]).wantRefused()
		s.login(t, s.newProxy(t), s.right(), asking{options: &tls.Config{}}, Passwords[0]).wantRefused()
	}
}
