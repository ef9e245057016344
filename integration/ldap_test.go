package integration_test

import (
	"encoding/asn1"
	"io"
	"net"
	"sync"
	"testing"
)

// A directory is a small LDAP server (RFC 4511). PostgreSQL asks it whether a password is right, of
// any length. It knows simple binds and nothing else.
type directory struct {
	listener net.Listener
	check    func(user, password string) bool

	mu                 sync.Mutex
	accepted, rejected int
}

func newDirectory(t *testing.T, check func(user, password string) bool) *directory {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0") // the database is in a container
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &directory{listener: l, check: check}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(conn)
		}
	}()
	return d
}

func (d *directory) port() int { return d.listener.Addr().(*net.TCPAddr).Port }

// An ldapMessage is a request or an answer.
type ldapMessage struct {
	ID int
	Op asn1.RawValue
}

const (
	bindRequest        = 0
	bindAnswer         = 1
	success            = 0
	invalidCredentials = 49
)

func (d *directory) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var m ldapMessage
		text, err := readBER(conn)
		if err == nil {
			_, err = asn1.Unmarshal(text, &m)
		}
		if err != nil || m.Op.Class != asn1.ClassApplication || m.Op.Tag != bindRequest { // or the connection is closed
			return
		}
		var version int
		var user []byte
		var password asn1.RawValue
		rest, _ := asn1.Unmarshal(m.Op.Bytes, &version)
		rest, _ = asn1.Unmarshal(rest, &user)
		_, _ = asn1.Unmarshal(rest, &password)
		result := byte(success)
		if !d.count(d.check(string(user), string(password.Bytes))) {
			result = invalidCredentials
		}
		// resultCode, matchedDN and diagnosticMessage.
		m.Op = asn1.RawValue{Class: asn1.ClassApplication, Tag: bindAnswer, IsCompound: true, Bytes: []byte{10, 1, result, 4, 0, 4, 0}}
		answer, err := asn1.Marshal(m)
		if err != nil {
			return
		}
		_, _ = conn.Write(answer)
	}
}

func (d *directory) count(right bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if right {
		d.accepted++
	} else {
		d.rejected++
	}
	return right
}

func (d *directory) counts() (accepted, rejected int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted, d.rejected
}

// readBER reads one value: a tag, a length, and that many bytes. The length is one byte, or the
// first byte says how many bytes it has.
func readBER(r io.Reader) ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	length := int(head[1])
	if length >= 0x80 {
		more := make([]byte, length-0x80)
		if _, err := io.ReadFull(r, more); err != nil {
			return nil, err
		}
		length = 0
		for _, b := range more {
			length = length<<8 | int(b)
		}
		head = append(head, more...)
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return append(head, body...), err
}
