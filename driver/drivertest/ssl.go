package drivertest

import "testing"

// supportsSSL reports whether the engine supports a secret whose "ssl" is true.
func (s Server) supportsSSL() bool { return s.Engine.Info().TurnsTLSOff != nil }

// askingBySecret returns the ways to ask for TLS with the secret's "ssl" only.
func (s Server) askingBySecret() []asking {
	list := []asking{{name: "the secret", ssl: true}}
	if s.TLS.IfAvailable != "" {
		list = append(list, asking{name: "the secret, with parameters that leave it to the server", params: s.TLS.IfAvailable, ssl: true})
	}
	return list
}

// tlsAskedBySecret checks that the secret's "ssl" makes TLS required. The server is not verified, unless
// the vendor's driver always does so, or parameters ask for it. Parameters that turn TLS off take
// precedence.
func (s Server) tlsAskedBySecret(t *testing.T) {
	for _, how := range s.askingBySecret() {
		for _, host := range []string{s.right(), s.wrong()} {
			t.Run(how.name+", host "+host, func(t *testing.T) {
				l := s.login(t, s.newProxy(t), host, how, Passwords[0])
				if s.TLS.NoOptions { // the driver has authorities of its own
					l.wantRefused()
				} else {
					l.wantTLS()
				}
			})
		}
	}
	t.Run("verified by parameters", func(t *testing.T) {
		s.login(t, s.newProxy(t), s.right(), asking{params: s.TLS.Verified, ssl: true}, Passwords[0]).wantTLS()
		s.login(t, s.newProxy(t), s.wrong(), asking{params: s.TLS.Verified, ssl: true}, Passwords[0]).wantRefused()
	})
	if s.TLS.Off != "" && !s.TLS.OnlyIfAsked {
		t.Run("off", func(t *testing.T) {
			s.login(t, s.newProxy(t), s.right(), asking{params: s.TLS.Off, ssl: true}, Passwords[0]).wantPlain()
		})
	}
}
