package tnsserver

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Types of TTC messages.
const (
	messageProtocol  = 1
	messageDataTypes = 2
	messageFunction  = 3
	messageSummary   = 4
	messageRowHeader = 6
	messageRow       = 7
	messageParameter = 8
	messageStatus    = 9
	messageDescribe  = 16
	messagePiggyback = 17
	messageServer    = 23 // a piggyback of the server
)

// Numbers of functions.
const (
	functionReexecute      = 0x04
	functionFetch          = 0x05
	functionLogoff         = 0x09
	functionCommit         = 0x0e
	functionRollback       = 0x0f
	functionVersion        = 0x3b
	functionReexecuteFetch = 0x4e
	functionExecute        = 0x5e
	functionCloseCursors   = 0x69
	functionAuthTwo        = 0x73
	functionAuthOne        = 0x76
	functionPing           = 0x93
)

const (
	charsetAL32UTF8  = 873
	charsetAL16UTF16 = 2000
	fieldVersion     = 8 // of 12.2
	versionNumber    = 12<<24 | 2<<20 | 1<<8
	banner           = "Oracle Database 12c Release 12.2.0.1.0 (stand-in for tests)"
)

// compileCaps are the capabilities of a server of version 12.2, as far as the clients read them.
var compileCaps = func() []byte {
	c := make([]byte, 42)
	c[0] = 6
	c[4] = 8 | 2 | 32 | 64 | 128 // kinds of logins, with the key derived by PBKDF2
	c[7] = fieldVersion
	c[15] = 1    // status at the end of a call
	c[16] = 1    // a sequence number with it
	c[27] = 1    // data types have 16 bits
	c[37] = 0x20 // chunks have lengths of 32 bits
	return c
}()

var runtimeCaps = []byte{2, 1 /* time zone */, 0, 0, 0, 0, 4 /* strings of 32 KiB */}

// A session is one connection.
type session struct {
	*wire
	server    *Server
	service   string
	challenge *challenge
	user      string // the user who has logged in
	id        int
	cursors   map[int]*result
}

// serve serves a connection until it ends, with TLS if there is a configuration.
func serve(s *Server, raw net.Conn, config *tls.Config) {
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(wireError); !ok {
				panic(e)
			}
		}
	}()
	s.stops(AtConnect, raw)
	ss := &session{wire: &wire{Conn: raw}, server: s, cursors: map[int]*result{}}
	if config != nil {
		ss.Conn = tls.Server(raw, config)
	}
	defer s.leave(ss)
	if !ss.connect(raw, config) {
		return
	}
	for {
		ss.message()
		ss.flush()
	}
}

// protocolName returns Oracle's name of the session's protocol.
func (s *session) protocolName() string {
	if _, ok := s.Conn.(*tls.Conn); ok {
		return "tcps"
	}
	return "tcp"
}

// silence reads until the client hangs up.
func silence(c net.Conn) {
	_, _ = io.Copy(io.Discard, c)
	check(errClosed)
}

// connect receives the CONNECT packet and answers it.
func (s *session) connect(raw net.Conn, config *tls.Config) (ok bool) {
	descriptor := s.receiveConnect()
	if s.server.o.ResendTLS && config != nil {
		s.send(packetResend, 8, make([]byte, headerSize))
		s.Conn = tls.Server(raw, config)
		descriptor = s.receiveConnect()
	}
	s.server.mu.Lock()
	s.server.connects = append(s.server.connects, descriptor)
	s.server.mu.Unlock()
	if to := s.server.o.Redirect; to != "" {
		p := binary.BigEndian.AppendUint16(make([]byte, headerSize), uint16(len(to)))
		s.send(packetRedirect, 0, append(p, to...))
		return false
	}
	code := 0
	if name := value(descriptor, "SERVICE_NAME"); name != "" {
		if s.service = name; !contains(s.server.o.Services, name) {
			code = 12514
		}
	} else if !contains(s.server.o.SIDs, value(descriptor, "SID")) {
		code = 12505
	}
	if code != 0 {
		reason := fmt.Sprintf("(DESCRIPTION=(TMP=)(VSNNUM=203424000)(ERR=%d)(ERROR_STACK=(ERROR=(CODE=%d)(EMFI=4))))", code, code)
		p := binary.BigEndian.AppendUint16(append(make([]byte, headerSize), 34, 0), uint16(len(reason)))
		s.send(packetRefuse, 0, append(p, reason...))
		return false
	}
	p := make([]byte, 45)
	binary.BigEndian.PutUint16(p[8:], 317) // version
	binary.BigEndian.PutUint16(p[10:], 1)
	binary.BigEndian.PutUint16(p[12:], unitSize)
	binary.BigEndian.PutUint16(p[14:], 65535)
	binary.BigEndian.PutUint16(p[16:], 1)
	binary.BigEndian.PutUint16(p[20:], uint16(len(p))) // offset of the data, of which there is none
	p[22], p[23] = 4, 4                                // no native encryption and authentication
	binary.BigEndian.PutUint32(p[32:], unitSize)
	binary.BigEndian.PutUint32(p[36:], 65535)
	s.send(packetAccept, 0, p)
	s.large = true
	return true
}

// receiveConnect returns the descriptor. A long descriptor follows in data packets.
func (s *session) receiveConnect() string {
	kind, p := s.packet()
	if kind != packetConnect || len(p) < 58 {
		fail("a packet of type %d where there should be CONNECT", kind)
	}
	n, offset := int(binary.BigEndian.Uint16(p[24:])), int(binary.BigEndian.Uint16(p[26:]))
	if offset+n <= len(p) {
		return string(p[offset : offset+n])
	}
	return string(s.bytes(n))
}

// value returns the value that a name has in a descriptor.
func value(descriptor, name string) string {
	m := regexp.MustCompile(`(?i)\(\s*` + name + `\s*=\s*([^()]*?)\s*\)`).FindStringSubmatch(descriptor)
	if m == nil {
		return ""
	}
	return m[1]
}

func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// message answers one message.
func (s *session) message() {
	switch kind := s.byte(); kind {
	case messageProtocol:
		s.protocol()
	case messageDataTypes:
		s.dataTypes()
	case messagePiggyback:
		s.piggyback()
	case messageFunction:
		function := s.byte()
		s.byte() // sequence number
		if s.user == "" && function != functionAuthOne && function != functionAuthTwo {
			fail("function %#x before the login", function)
		}
		s.function(function)
	default:
		fail("message of type %d", kind)
	}
}

func (s *session) protocol() {
	s.in = nil // versions and the client's name
	s.put(messageProtocol, 6, 0)
	s.put([]byte("x86_64/Linux 2.4.xx\x00")...)
	s.put(charsetAL32UTF8&0xff, charsetAL32UTF8>>8, 1, 0, 0)
	description := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, charsetAL16UTF16 >> 8, charsetAL16UTF16 & 0xff}
	s.put(0, byte(len(description)))
	s.put(description...)
	s.putText(string(compileCaps))
	s.putText(string(runtimeCaps))
}

func (s *session) dataTypes() {
	s.bytes(5) // character sets and flags
	s.text()   // capabilities at compile time
	atRunTime := s.text()
	s.in = nil // time zone and types
	s.put(messageDataTypes)
	if len(atRunTime) > 1 && atRunTime[1] == 1 {
		s.put(0x80, 0, 0, 0, 60, 60, 60, 0x80, 0, 0, 0) // UTC
	}
	for _, t := range []byte{typeVarchar, typeNumber, typeTimestampTZ} {
		s.put(0, t, 0, t, 0, 1, 0, 0)
	}
	s.put(0, 0)
}

func (s *session) piggyback() {
	function := s.byte()
	s.byte()
	if function != functionCloseCursors {
		fail("piggyback %#x", function)
	}
	s.byte()
	for range s.num() {
		delete(s.cursors, s.num())
	}
	s.message()
}

func (s *session) function(number byte) {
	switch number {
	case functionAuthOne:
		s.authOne()
	case functionAuthTwo:
		s.authTwo()
	case functionVersion:
		s.in = nil
		s.put(messageParameter)
		s.putLengthAndText(banner)
		s.putNum(versionNumber)
		s.status()
	case functionPing, functionCommit, functionRollback, functionLogoff:
		s.status()
	case functionExecute:
		s.execute()
	case functionReexecute, functionReexecuteFetch, functionFetch:
		cursor, rows := s.num(), s.num()
		if number != functionFetch {
			s.skipNums(2)
		}
		r := s.cursors[cursor]
		if r == nil {
			s.error(1001)
			return
		}
		if number != functionFetch {
			r.sent = false
		}
		s.answer(cursor, r, rows)
	default:
		fail("function %#x", number)
	}
}

// status ends the answer to a call that has no result.
func (s *session) status() {
	s.put(messageStatus)
	s.putNum(0)
	s.putNum(0)
}

// error answers with an error. Markers come before it if the server is configured so.
func (s *session) error(code int) {
	if s.server.o.BreakOnError {
		s.out = nil
		s.marker(markerBreak)
		s.awaitReset()
		s.marker(markerReset)
	}
	s.summary(code, 0, 0)
}

// summary ends the answer to a call.
func (w *wire) summary(code, cursor, rows int) {
	w.put(messageSummary)
	w.putNum(0) // status at the end of the call
	w.putNum(0) // sequence number
	w.putNum(rows)
	w.putNum(code)
	w.putNum(0)
	w.putNum(0)
	w.putNum(cursor)
	w.putNum(0)             // position in the statement
	w.put(0, 0, 0, 0, 0, 0) // type of statement, fatal, flags, cursor options, UPI, warnings
	w.putNum(0)             // the four parts of a row id, in between a byte
	w.putNum(0)
	w.put(0)
	w.putNum(0)
	w.putNum(0)
	w.putNum(0) // error of the operating system
	w.put(0, 0)
	w.putNum(0)
	w.putNum(0)
	w.putNum(0) // logical row id
	w.putNum(0) // errors of a batch: codes, rows, messages
	w.putNum(0)
	w.putNum(0)
	w.putNum(code)
	w.putNum(rows)
	if code != 0 {
		w.putText(fmt.Sprintf("ORA-%05d: %s\n", code, errMessages[code]))
	}
}

// auth reads the beginning that both phases of the login have in common.
func (s *session) auth() (user string, pairs map[string]string) {
	hasUser := s.byte() != 0
	s.num()
	s.num() // mode
	s.byte()
	n := s.num()
	s.bytes(2)
	if hasUser {
		user = s.text()
	}
	return user, s.pairs(n)
}

func (s *session) authOne() {
	user, _ := s.auth()
	s.server.mu.Lock()
	c := newChallenge(s.server.account(user).verifier)
	s.server.mu.Unlock()
	s.challenge = &c
	pairs := c.pairs()
	s.put(messageParameter)
	s.putNum(len(pairs))
	s.putPairs(pairs)
	s.summary(0, 0, 0)
}

func (s *session) authTwo() {
	user, pairs := s.auth()
	if s.challenge == nil {
		fail("a password without a challenge")
	}
	a := answer{pairs["AUTH_SESSKEY"], pairs["AUTH_PASSWORD"], pairs["AUTH_PBKDF2_SPEEDY_KEY"]}
	ch := *s.challenge
	s.challenge = nil
	s.server.stops(AtLogin, s.Conn)
	if code := s.server.login(user, ch, ch.check(a)); code != 0 {
		s.error(code)
		s.flush()
		silence(s.Conn)
	}
	response, err := ch.response(a)
	check(err)
	if s.server.o.WrongProof {
		response = strings.Repeat("0", len(response))
	}
	s.server.enter(s, userName(user))
	reply := []pair{
		{"AUTH_VERSION_STRING", "- Production", 0},
		{"AUTH_VERSION_NO", strconv.Itoa(versionNumber), 0},
		{"AUTH_SESSION_ID", strconv.Itoa(s.id), 0},
		{"AUTH_SERIAL_NUM", "1", 0},
		{"AUTH_INSTANCENAME", "orcl", 0},
		{"AUTH_DBNAME", "ORCL", 0},
		{"AUTH_SC_SERVER_HOST", "stand-in", 0},
		{"AUTH_SC_INSTANCE_NAME", "orcl", 0},
		{"AUTH_SC_SERVICE_NAME", s.service, 0},
		{"AUTH_SC_DBUNIQUE_NAME", "orcl", 0},
		{"AUTH_MAX_OPEN_CURSORS", "300", 0},
		{"AUTH_SVR_RESPONSE", response, 0},
	}
	s.put(messageParameter)
	s.putNum(len(reply))
	s.putPairs(reply)
	s.languages()
	s.summary(0, 0, 0)
}

// languages is a piggyback, so that clients need not ask for the languages.
func (s *session) languages() {
	pairs := []pair{
		{"AUTH_NLS_LXCCURRENCY", "$", 0},
		{"AUTH_NLS_LXCDATEFM", "DD-MON-RR", 7},
		{"AUTH_NLS_LXCTERRITORY", "AMERICA", 9},
		{"SESSION_NLS_LXCCHARSET", "AL32UTF8", 10},
		{"AUTH_NLS_LXLAN", "AMERICAN", 16},
	}
	s.put(messageServer, 5)
	s.putNum(0)
	s.put(0)
	s.putNum(len(pairs))
	s.put(0)
	s.putPairs(pairs)
	s.putNum(0)
}

// execute runs a statement. It parses the statement, unless that was parsed before.
func (s *session) execute() {
	s.num() // options
	cursor := s.num()
	s.byte()
	hasText := s.num() > 0
	s.byte()
	s.num() // 13
	s.bytes(3)
	rows := s.num()
	s.num() // longest LONG
	s.byte()
	if binds := s.num(); binds > 0 {
		fail("%d values to bind", binds)
	}
	s.bytes(6)
	s.num() // defines
	// Registration, lists of objects, counts of rows, signature: none of them has a value.
	s.num()
	s.bytes(3)
	s.num()
	s.byte()
	s.skipNums(2)
	for range 2 {
		s.byte()
		s.num()
		s.byte()
	}
	s.num()
	s.byte()
	text := ""
	if hasText {
		text = s.text()
	}
	s.skipNums(13)
	s.server.stops(AtQuery, s.Conn)
	if !hasText {
		r := s.cursors[cursor]
		if r == nil {
			s.error(1001)
			return
		}
		r.sent = false
		s.answer(cursor, r, rows)
		return
	}
	r := s.run(text)
	if r == nil {
		s.error(900)
		return
	}
	for cursor = 1; s.cursors[cursor] != nil; {
		cursor++
	}
	s.describe(r)
	s.answer(cursor, r, rows)
}

// answer sends the row of a result, unless it was sent before or the client asks for no rows.
func (s *session) answer(cursor int, r *result, rows int) {
	s.cursors[cursor] = r
	sent := 0
	if !r.sent && rows > 0 {
		r.sent, sent = true, 1
		s.put(messageRowHeader, 0)
		s.putNum(1) // columns
		s.putNum(0)
		s.putNum(1) // rows
		s.putNum(0)
		s.putNum(0)
		s.putNum(0)
		s.put(messageRow)
		s.putText(r.value)
	}
	s.parameters()
	code := 0
	if r.sent {
		code = 1403
	}
	s.summary(code, cursor, sent)
}

func (s *session) describe(r *result) {
	width := max(len(r.value), 22)
	s.put(messageDescribe)
	s.putText("stand-in")
	s.putNum(len(r.value))
	s.putNum(1) // columns
	s.put(0)
	s.put(r.kind, 0, 0, 0) // flags, precision, scale
	s.putNum(width)
	s.putNum(0)
	s.putNum(0)
	s.putNum(0)
	s.putNum(0)
	if r.kind == typeVarchar {
		s.putNum(charsetAL32UTF8)
		s.put(1)
		s.putNum(width)
	} else {
		s.putNum(0)
		s.put(0)
		s.putNum(0)
	}
	s.putNum(0)
	s.put(1, byte(len(r.column)))
	s.putLengthAndText(r.column)
	s.putLengthAndText("") // schema and name of the type
	s.putLengthAndText("")
	s.putNum(1) // the column's number
	s.putNum(0)
	s.putNum(0) // date
	for range 4 {
		s.putNum(0)
	}
	s.putNum(0)
}

// parameters sends the other values that the execution of a statement returns.
func (s *session) parameters() {
	s.put(messageParameter)
	s.putNum(2)
	for range 5 {
		s.putNum(0)
	}
}
