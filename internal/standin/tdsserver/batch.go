package tdsserver

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Tokens of a reply, 2.2.7 of MS-TDS.
const (
	tokenColumns   = 0x81
	tokenError     = 0xaa
	tokenInfo      = 0xab
	tokenLoginAck  = 0xad
	tokenRow       = 0xd1
	tokenEnvChange = 0xe3
	tokenSSPI      = 0xed
	tokenDone      = 0xfd
)

// Types of data, 2.2.5.4.
const (
	typeIntN     = 0x26
	typeNVarChar = 0xe7

	maxNVarChar = 8000 // bytes
)

// Kinds of ENVCHANGE, 2.2.7.9.
const (
	envDatabase   = 1
	envLanguage   = 2
	envPacketSize = 4
	envCollation  = 7
	envBegin      = 8
	envCommit     = 9
	envRollback   = 10
	envReset      = 18
	envRouting    = 20
)

// Bits of DONE, 2.2.7.6.
const (
	doneError = 0x02
	doneCount = 0x10
	doneAttn  = 0x20
)

var collation = []byte{0x09, 0x04, 0xd0, 0x00, 0x34} // SQL_Latin1_General_CP1_CI_AS

type sqlError struct {
	number       int32
	state, class byte
	text         string
}

// A reply is a list of tokens.
type reply []byte

func (r *reply) uint16(n int) { *r = binary.LittleEndian.AppendUint16(*r, uint16(n)) }
func (r *reply) uint32(n int) { *r = binary.LittleEndian.AppendUint32(*r, uint32(n)) }

// short adds a text with its length in one byte.
func (r *reply) short(s string) {
	b := toUTF16(s)
	*r = append(append(*r, byte(len(b)/2)), b...)
}

// long adds a text with its length in characters, in two bytes.
func (r *reply) long(s string) {
	b := toUTF16(s)
	r.uint16(len(b) / 2)
	*r = append(*r, b...)
}

// token adds a token that begins with its length.
func (r *reply) token(kind byte, body reply) {
	*r = append(*r, kind)
	r.uint16(len(body))
	*r = append(*r, body...)
}

func (r *reply) message(kind byte, e sqlError) {
	var b reply
	b.uint32(int(e.number))
	b = append(b, e.state, e.class)
	b.long(e.text)
	b.short("STANDIN")
	b.short("")
	b.uint32(1)
	r.token(kind, b)
}

func (r *reply) fail(e sqlError) { r.message(tokenError, e) }

func (r *reply) info(number int32, text string) {
	r.message(tokenInfo, sqlError{number, 1, 0, text})
}

func (r *reply) change(kind byte, to, from []byte) {
	r.token(tokenEnvChange, slices.Concat([]byte{kind}, to, from))
}

func (r *reply) changeText(kind byte, to, from string) {
	var a, b reply
	a.short(to)
	b.short(from)
	r.change(kind, a, b)
}

func (r *reply) loginAck(version uint32) {
	b := reply{1} // SQL_TSQL
	b = binary.BigEndian.AppendUint32(b, version)
	b.short("Microsoft SQL Server")
	r.token(tokenLoginAck, append(b, 16, 0, 0x03, 0xe8))
}

func (r *reply) route(to route) {
	value := reply{0} // TCP
	value.uint16(to.port)
	value.long(to.host)
	var b reply
	b.uint16(len(value))
	r.change(envRouting, append(b, value...), []byte{0, 0})
}

func (r *reply) done(status, rows int) {
	*r = append(*r, tokenDone)
	r.uint16(status)
	r.uint16(0xc1) // SELECT
	*r = binary.LittleEndian.AppendUint64(*r, uint64(rows))
}

// row adds a result of one row and one column, which is a whole number or a text.
func (r *reply) row(column string, value any) {
	*r = append(*r, tokenColumns)
	r.uint16(1)
	r.uint32(0) // the user's type
	r.uint16(1) // it may be null
	switch v := value.(type) {
	case int:
		*r = append(*r, typeIntN, 4)
		r.short(column)
		*r = append(*r, tokenRow, 4)
		r.uint32(v)
	case string:
		*r = append(*r, typeNVarChar)
		r.uint16(maxNVarChar)
		*r = append(*r, collation...)
		r.short(column)
		*r = append(*r, tokenRow)
		b := toUTF16(v)
		r.uint16(len(b))
		*r = append(*r, b...)
	}
}

// serveBatches answers the requests after the login.
func (c *conn) serveBatches() {
	for {
		m, err := c.readMessage(nil)
		if err != nil || m.kind != typeAttention && c.stopped(AtQuery) {
			return
		}
		var r reply
		if m.status&(statusReset|statusResetSkipTran) != 0 {
			c.current = c.database
			r.change(envReset, []byte{0}, []byte{0})
		}
		switch m.kind {
		case typeBatch:
			c.batch(&r, m.body)
		case typeTransMgr:
			if !transaction(&r, m.body) {
				return
			}
		case typeAttention:
			r.done(doneAttn, 0)
		case typeRPC:
			r.fail(sqlError{2812, 62, 16, "Could not find stored procedure: the stand-in has none."})
			r.done(doneError, 0)
		default:
			return
		}
		if c.write(typeReply, r) != nil {
			return
		}
	}
}

// afterHeaders skips ALL_HEADERS, 2.2.5.3.
func afterHeaders(b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n < 4 || uint64(n) > uint64(len(b)) {
		return nil, false
	}
	return b[n:], true
}

// transaction answers a request to the transaction manager, 2.2.6.9. The server has no real
// transactions.
func transaction(r *reply, b []byte) bool {
	b, ok := afterHeaders(b)
	if !ok || len(b) < 2 {
		return false
	}
	id := append([]byte{8}, 1, 0, 0, 0, 0, 0, 0, 0)
	switch binary.LittleEndian.Uint16(b) {
	case 5:
		r.change(envBegin, id, []byte{0})
	case 7:
		r.change(envCommit, []byte{0}, id)
	case 8:
		r.change(envRollback, []byte{0}, id)
	default:
		return false
	}
	r.done(0, 0)
	return true
}

// batch answers a statement.
func (c *conn) batch(r *reply, b []byte) {
	b, ok := afterHeaders(b)
	if !ok {
		r.fail(sqlError{4002, 1, 16, "The incoming tabular data stream (TDS) protocol stream is incorrect."})
		r.done(doneError, 0)
		return
	}
	s, ok := statements[strings.TrimSpace(fromUTF16(b))]
	if !ok {
		r.fail(sqlError{102, 1, 15, "Incorrect syntax: it is no statement that the stand-in knows."})
		r.done(doneError, 0)
		return
	}
	var value any
	if s.answer != nil {
		value = s.answer(c)
	}
	if value == nil {
		r.done(0, 0)
		return
	}
	r.row(s.column, value)
	r.done(doneCount, 1)
}
