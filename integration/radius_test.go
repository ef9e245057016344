package integration_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// A radius is a small RADIUS server (RFC 2865) that checks passwords of PAP.
type radius struct {
	conn   net.PacketConn
	secret string

	mu                 sync.Mutex
	password           string // of every user
	accepted, rejected int
}

func newRADIUS(t *testing.T, password string) *radius {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "0.0.0.0:0") // the database is in a container
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := &radius{conn: conn, secret: "shared-by-both", password: password}
	go r.serve()
	return r
}

func (r *radius) port() int { return r.conn.LocalAddr().(*net.UDPAddr).Port }

func (r *radius) serve() {
	packet := make([]byte, 4096)
	for {
		n, from, err := r.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if n >= 20 && packet[0] == 1 { // Access-Request
			_, _ = r.conn.WriteTo(r.answer(packet[:n]), from)
		}
	}
}

// answer checks the password of a request. A request has a code, an id, a length, an authenticator
// of 16 bytes, and attributes of a type, a length and a value.
func (r *radius) answer(request []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	code := byte(3) // Access-Reject
	for rest := request[20:]; len(rest) >= 2 && int(rest[1]) >= 2 && int(rest[1]) <= len(rest); rest = rest[rest[1]:] {
		if rest[0] == 2 && r.reveal(rest[2:rest[1]], request[4:20]) == r.password {
			code = 2 // Access-Accept
		}
	}
	if code == 2 {
		r.accepted++
	} else {
		r.rejected++
	}
	answer := append([]byte{code, request[1], 0, 20}, request[4:20]...)
	sum := md5.Sum(append(bytes.Clone(answer), r.secret...))
	copy(answer[4:], sum[:])
	return answer
}

// reveal decodes a password: each 16 bytes are XORed with a digest of the secret and of the 16
// bytes before.
func (r *radius) reveal(hidden, before []byte) string {
	var password []byte
	for ; len(hidden) >= 16; hidden = hidden[16:] {
		pad := md5.Sum(append([]byte(r.secret), before...))
		block := make([]byte, 16)
		for i := range block {
			block[i] = hidden[i] ^ pad[i]
		}
		password, before = append(password, block...), hidden[:16]
	}
	return string(bytes.TrimRight(password, "\x00"))
}

func (r *radius) set(password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.password = password
}

func (r *radius) counts() (accepted, rejected int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted, r.rejected
}

// If another server checks the password, the first login that it rejects is enough to notice a
// rotation. A wrong secret does not send so many wrong passwords to it that the account is locked.
func TestPostgresWithRADIUS(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{Private: true})
	r := newRADIUS(t, v.password)
	var gateway string
	if err := v.Admin().QueryRowContext(t.Context(), "SELECT host(inet_client_addr())").Scan(&gateway); err != nil {
		t.Fatal(err)
	}
	authenticate(t, v.Server, fmt.Sprintf(`host all all all radius radiusservers="%s" radiussecrets="%s" radiusports="%d"`, gateway, r.secret, r.port()))

	db := v.open(t, "", nil)
	db.SetMaxIdleConns(-1) // each Ping logs in
	mustPing(t, db)
	r.set("the next one")
	v.sm.Put(v.id, v.secret(v.user, "the next one"))
	began := time.Now()
	mustPing(t, db)
	accepted, rejected := r.counts()
	t.Logf("a rotation was noticed after %v: %d logins accepted, %d rejected", time.Since(began).Round(time.Millisecond), accepted, rejected)
	if accepted != 2 || rejected != 1 {
		t.Errorf("%d logins accepted and %d rejected, want 2 and 1", accepted, rejected)
	}

	r.set("one that the secret has not")
	const pings = 150
	for range pings {
		if err := db.PingContext(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Fatalf("Ping = %v, want ErrAuthFailed", err)
		}
	}
	_, after := r.counts()
	t.Logf("%d pings with a wrong secret sent %d wrong passwords", pings, after-rejected)
	if after-rejected > 2 {
		t.Errorf("%d pings sent %d wrong passwords, want 2 at most", pings, after-rejected)
	}
}
