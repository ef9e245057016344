package tdsserver

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Options of PRELOGIN, 2.2.6.5 of MS-TDS.
const (
	optVersion    = 0
	optEncryption = 1
	optInstance   = 2
	optThreadID   = 3
	optMARS       = 4
	optEnd        = 0xff
)

// Values of the option ENCRYPTION.
const (
	encryptOff    = 0
	encryptOn     = 1
	encryptNotSup = 2
	encryptReq    = 3
)

// serve serves a connection until it ends.
func (c *conn) serve() {
	if c.s.o.Strict {
		config := c.s.o.TLS.Clone()
		config.NextProtos = []string{"tds/8.0"}
		if c.stopped(AtTLS) {
			return
		}
		secure := tls.Server(c.raw, config)
		if secure.Handshake() != nil || secure.ConnectionState().NegotiatedProtocol != "tds/8.0" {
			return
		}
		c.rw = secure
	}
	m, err := c.readMessage(nil)
	if err != nil || m.kind != typePrelogin || c.stopped(AtConnect) {
		return
	}
	encryption, fits, err := c.prelogin(m.body)
	if err != nil {
		return
	}
	l := Login{Encrypted: c.s.o.Strict, Full: c.s.o.Strict}
	var first func()
	if !c.s.o.Strict && encryption != encryptNotSup {
		if !fits || c.stopped(AtTLS) || c.startTLS() != nil {
			return
		}
		l.Encrypted, l.Full = true, encryption != encryptOff
		if !l.Full {
			// Only the first packet of the login is encrypted.
			first = func() { c.rw = c.raw }
		}
	} else if !fits {
		return
	}
	if m, err = c.readMessage(first); err != nil || m.kind != typeLogin7 {
		return
	}
	if err := c.login(m.body, l); err != nil {
		return
	}
	c.serveBatches()
}

// prelogin answers PRELOGIN. It returns what is encrypted after that: nothing (encryptNotSup), the
// login (encryptOff) or everything. fits is false if the connection must end, according to the
// document.
func (c *conn) prelogin(body []byte) (encryption byte, fits bool, err error) {
	options, err := parsePrelogin(body)
	if err != nil {
		return 0, false, err
	}
	client := byte(encryptNotSup)
	if v := options[optEncryption]; len(v) > 0 {
		client = v[0]
	}
	// The table in 2.2.6.5, by what the client sends and how the server is configured.
	answer := byte(encryptNotSup)
	fits = true
	switch {
	case c.s.o.Strict: // TLS has begun before
	case c.s.o.TLS == nil:
		fits = client == encryptOff || client == encryptNotSup
	case client == encryptOn || client == encryptReq:
		answer = encryptOn
	case c.s.o.Force:
		answer = encryptReq
		fits = client != encryptNotSup
	case client == encryptOff:
		answer = encryptOff
	}
	values := []struct {
		option byte
		value  []byte
	}{
		{optVersion, []byte{16, 0, 0x03, 0xe8, 0, 0}},
		{optEncryption, []byte{answer}},
		{optInstance, []byte{0}},
		{optThreadID, nil},
		{optMARS, []byte{0}},
	}
	offset := 5*len(values) + 1
	var head, tail []byte
	for _, v := range values {
		head = append(head, v.option)
		head = binary.BigEndian.AppendUint16(head, uint16(offset+len(tail)))
		head = binary.BigEndian.AppendUint16(head, uint16(len(v.value)))
		tail = append(tail, v.value...)
	}
	return answer, fits, c.write(typeReply, slices.Concat(head, []byte{optEnd}, tail))
}

func parsePrelogin(body []byte) (map[byte][]byte, error) {
	options := map[byte][]byte{}
	for rest := body; ; rest = rest[5:] {
		if len(rest) > 0 && rest[0] == optEnd && len(rest) < len(body) {
			return options, nil
		}
		if len(rest) < 5 || len(rest) == len(body) && rest[0] != optVersion {
			return nil, errors.New("PRELOGIN that is none")
		}
		from := int(binary.BigEndian.Uint16(rest[1:]))
		to := from + int(binary.BigEndian.Uint16(rest[3:]))
		if to > len(body) {
			return nil, errors.New("PRELOGIN with an option that ends after it")
		}
		options[rest[0]] = body[from:to]
	}
}

// Fields of LOGIN7, 2.2.6.4: the positions of their offset and length.
const (
	fieldHostName   = 36
	fieldUserName   = 40
	fieldPassword   = 44
	fieldAppName    = 48
	fieldServerName = 52
	fieldLibrary    = 60
	fieldDatabase   = 68
	fieldSSPI       = 78
	loginSize       = 94
)

const (
	flagIntegrated = 0x80 // of OptionFlags2
	flagReadOnly   = 0x20 // of TypeFlags
)

const (
	tds72 = 0x72090002
	tds74 = 0x74000004
	tds80 = 0x08000000
)

var errRejected = errors.New("the login was rejected")

// login reads LOGIN7 and answers it. Its error ends the connection.
func (c *conn) login(b []byte, l Login) error {
	if len(b) < loginSize || int(binary.LittleEndian.Uint32(b)) != len(b) {
		return errors.New("LOGIN7 of another length")
	}
	field := func(at, size int) []byte {
		from := int(binary.LittleEndian.Uint16(b[at:]))
		to := from + size*int(binary.LittleEndian.Uint16(b[at+2:]))
		if from > to || to > len(b) {
			return nil
		}
		return b[from:to]
	}
	text := func(at int) string { return fromUTF16(field(at, 2)) }
	l.User, l.Database, l.AppName = text(fieldUserName), text(fieldDatabase), text(fieldAppName)
	l.HostName, l.ServerName, l.Library = text(fieldHostName), text(fieldServerName), text(fieldLibrary)
	l.ReadOnly = b[26]&flagReadOnly != 0
	if l.Database == "" {
		l.Database = "master"
	}
	// From TDS 7.2 on, errors and DONE have the form that is written below.
	version := binary.LittleEndian.Uint32(b[4:])
	if version < tds72 && version != tds80 {
		return errors.New("an older TDS")
	}
	if version != tds80 {
		version = min(version, tds74)
	}
	granted := min(max(int(binary.LittleEndian.Uint32(b[8:])), 512), maxPacketSize)

	password := unscramble(field(fieldPassword, 2))
	right := func(want string) bool { return password == want }
	if b[25]&flagIntegrated != 0 {
		l.Windows = true
		var err error
		if l.User, right, err = c.ntlm(field(fieldSSPI, 1)); err != nil {
			return err
		}
	}
	if c.stopped(AtLogin) {
		return errRejected
	}
	if errs := c.s.check(l, right); errs != nil {
		var r reply
		for _, e := range errs {
			r.fail(e)
		}
		r.done(doneError, 0)
		_ = c.write(typeReply, r)
		return errRejected
	}
	c.s.mu.Lock()
	route := c.s.route
	c.loggedIn, c.user = true, l.User
	c.s.mu.Unlock()
	c.database, c.current, c.encrypted = l.Database, l.Database, l.Full

	var r reply
	r.changeText(envDatabase, l.Database, "master")
	r.info(5701, "Changed database context to '"+l.Database+"'.")
	r.change(envCollation, append([]byte{5}, collation...), []byte{0})
	r.changeText(envLanguage, "us_english", "")
	r.info(5703, "Changed language setting to us_english.")
	r.loginAck(version)
	r.changeText(envPacketSize, strconv.Itoa(granted), strconv.Itoa(defaultPacketSize))
	if route.port != 0 {
		r.route(route)
	}
	r.done(0, 0)
	err := c.write(typeReply, r)
	c.packetSize = granted
	return err
}

// unscramble returns the password of LOGIN7. Each byte is combined with 0xA5, and then its halves
// are swapped.
func unscramble(b []byte) string {
	clear := make([]byte, len(b))
	for i, x := range b {
		x ^= 0xa5
		clear[i] = x<<4 | x>>4
	}
	return fromUTF16(clear)
}

// ntlm asks for the password of a Windows login. The user is DOMAIN\name.
func (c *conn) ntlm(negotiate []byte) (user string, right func(password string) bool, err error) {
	if !strings.HasPrefix(string(negotiate), ntlmSignature+"\x01\x00\x00\x00") {
		return "", nil, errors.New("a token of another kind than NTLM's")
	}
	challenge := newChallenge()
	token := reply{tokenSSPI}
	token.uint16(len(challenge))
	if err := c.write(typeReply, append(token, challenge...)); err != nil {
		return "", nil, err
	}
	m, err := c.readMessage(nil)
	if err != nil {
		return "", nil, err
	}
	if m.kind != typeSSPI {
		return "", nil, errors.New("no answer to the challenge")
	}
	return readAuthenticate(m.body, challenge)
}
