package tdsserver

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"unicode/utf16"
)

// Types of packets, 2.2.3.1.1 of MS-TDS.
const (
	typeBatch     = 0x01
	typeRPC       = 0x03
	typeReply     = 0x04
	typeAttention = 0x06
	typeTransMgr  = 0x0e
	typeLogin7    = 0x10
	typeSSPI      = 0x11
	typePrelogin  = 0x12
)

// Bits of a packet's status, 2.2.3.1.2.
const (
	statusEOM           = 0x01
	statusReset         = 0x08
	statusResetSkipTran = 0x10
)

const (
	headerSize        = 8
	defaultPacketSize = 4096
	maxPacketSize     = 32767
	maxMessage        = 1 << 20
)

// A conn is the connection of a client.
type conn struct {
	s          *Server
	raw        net.Conn
	rw         io.ReadWriter // raw or TLS on top of it
	packetSize int
	spid       uint16
	database   string // of the login
	current    string // database of the session
	encrypted  bool   // everything is encrypted

	// Guarded by s.mu until the login has ended.
	loggedIn bool
	user     string
}

// A message is the content of one or several packets.
type message struct {
	kind, status byte
	body         []byte
}

func (c *conn) readPacket() (m message, err error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(c.rw, head[:]); err != nil {
		return m, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if size < headerSize || size > max(c.packetSize, defaultPacketSize) {
		return m, fmt.Errorf("a packet of %d bytes", size)
	}
	m = message{head[0], head[1], make([]byte, size-headerSize)}
	_, err = io.ReadFull(c.rw, m.body)
	return m, err
}

// readMessage reads packets up to the last packet of a message. It calls first after the first
// packet, if first is not nil.
func (c *conn) readMessage(first func()) (message, error) {
	m, err := c.readPacket()
	if err == nil && first != nil {
		first()
	}
	for err == nil && m.status&statusEOM == 0 {
		var next message
		if next, err = c.readPacket(); err == nil {
			if next.kind != m.kind || len(m.body) > maxMessage {
				return m, errors.New("packets that are no message")
			}
			m.status |= next.status & statusEOM
			m.body = append(m.body, next.body...)
		}
	}
	return m, err
}

// write writes one message.
func (c *conn) write(kind byte, body []byte) error {
	room := c.packetSize - headerSize
	for seq := byte(1); ; seq++ {
		n := min(len(body), room)
		p := make([]byte, headerSize, headerSize+n)
		p[0], p[6] = kind, seq
		if n == len(body) {
			p[1] = statusEOM
		}
		binary.BigEndian.PutUint16(p[2:], uint16(headerSize+n))
		binary.BigEndian.PutUint16(p[4:], c.spid)
		if _, err := c.rw.Write(append(p, body[:n]...)); err != nil {
			return err
		}
		if body = body[n:]; len(body) == 0 {
			return nil
		}
	}
}

// startTLS makes the TLS handshake inside PRELOGIN packets. After that, TDS is inside TLS.
func (c *conn) startTLS() error {
	config := c.s.o.TLS.Clone()
	// SQL Server has TLS 1.3 only in TDS 8.0.
	if config.MaxVersion == 0 || config.MaxVersion > tls.VersionTLS12 {
		config.MaxVersion = tls.VersionTLS12
	}
	t := &tlsTransport{Conn: c.raw, c: c, wrapped: true}
	secure := tls.Server(t, config)
	if err := secure.Handshake(); err != nil {
		return err
	}
	t.wrapped = false
	c.rw = secure
	return nil
}

// A tlsTransport carries TLS records, inside packets or without them. It returns one record at a
// time, so that it does not read the plaintext after the last record.
type tlsTransport struct {
	net.Conn
	c       *conn
	wrapped bool
	buf     []byte
}

func (t *tlsTransport) Read(p []byte) (int, error) {
	if len(t.buf) == 0 {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.buf)
	t.buf = t.buf[n:]
	return n, nil
}

func (t *tlsTransport) fill() error {
	if t.wrapped {
		m, err := t.c.readPacket()
		if err == nil && m.kind != typePrelogin {
			err = fmt.Errorf("packet of type %#x in a TLS handshake", m.kind)
		}
		t.buf = m.body
		return err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(t.Conn, head); err != nil {
		return err
	}
	t.buf = append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
	_, err := io.ReadFull(t.Conn, t.buf[len(head):])
	return err
}

func (t *tlsTransport) Write(p []byte) (int, error) {
	if !t.wrapped {
		return t.Conn.Write(p)
	}
	return len(p), t.c.write(typePrelogin, p)
}

// toUTF16 returns a text in the encoding of TDS.
func toUTF16(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fromUTF16(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
