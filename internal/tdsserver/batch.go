package tdsserver

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
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
	doneMore  = 0x01
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

// A reply is tokens.
type reply []byte

func (r *reply) uint16(n int) { *r = binary.LittleEndian.AppendUint16(*r, uint16(n)) }
func (r *reply) uint32(n int) { *r = binary.LittleEndian.AppendUint32(*r, uint32(n)) }

// short adds text with its length in one byte.
func (r *reply) short(s string) {
	b := toUTF16(s)
	*r = append(append(*r, byte(len(b)/2)), b...)
}

// long adds text with its length in two bytes, in characters.
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

// row adds a result with one row and column, an int or a string.
func (r *reply) row(value any) {
	*r = append(*r, tokenColumns)
	r.uint16(1)
	r.uint32(0) // the user's type
	r.uint16(1) // it may be null
	switch v := value.(type) {
	case int:
		*r = append(*r, 0x26, 4, 0) // INTNTYPE; the column has no name
		*r = append(*r, tokenRow, 4)
		r.uint32(v)
	case string:
		*r = append(*r, 0xe7) // NVARCHARTYPE
		r.uint16(8000)
		*r = append(append(*r, collation...), 0)
		b := toUTF16(v)
		*r = append(*r, tokenRow)
		r.uint16(len(b))
		*r = append(*r, b...)
	}
}

// serveBatches answers what comes after the login.
func (c *conn) serveBatches() {
	c.messages = make(chan message)
	done := make(chan struct{})
	defer close(done)
	c.s.wg.Go(func() {
		defer close(c.messages)
		for {
			m, err := c.readMessage(nil)
			if err != nil {
				return
			}
			select {
			case c.messages <- m:
			case <-done:
				return
			}
		}
	})
	for m := range c.messages {
		var r reply
		if m.kind != typeAttention && c.stopped(AtQuery) {
			return
		}
		if m.status&(statusReset|statusResetSkipTran) != 0 {
			c.update(func(s *Session) { s.Resets++; s.Database = c.database })
			r.change(envReset, []byte{0}, []byte{0})
		}
		switch m.kind {
		case typeBatch:
			c.update(func(s *Session) { s.Batches++ })
			c.batch(&r, m.body)
		case typeTransMgr:
			if !c.transaction(&r, m.body) {
				return
			}
		case typeAttention:
			r.done(doneAttn, 0)
		case typeRPC:
			r.fail(sqlError{2812, 62, 16, "Could not find stored procedure."})
			r.done(doneError, 0)
		default:
			return
		}
		if c.write(typeReply, r) != nil {
			return
		}
	}
}

func (c *conn) update(f func(*Session)) Session {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	f(&c.session)
	return c.session
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

// transaction answers a request to the transaction manager, 2.2.6.9.
func (c *conn) transaction(r *reply, b []byte) bool {
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

// batch answers statements with ";" or lines between, up to the first that fails.
func (c *conn) batch(r *reply, b []byte) {
	b, ok := afterHeaders(b)
	if !ok {
		r.fail(sqlError{4002, 1, 16, "The incoming tabular data stream (TDS) protocol stream is incorrect."})
		r.done(doneError, 0)
		return
	}
	var statements []string
	for s := range strings.FieldsFuncSeq(fromUTF16(b), func(r rune) bool { return r == ';' || r == '\n' || r == '\r' }) {
		if s = strings.TrimSpace(s); s != "" {
			statements = append(statements, s)
		}
	}
	if len(statements) == 0 {
		r.done(0, 0)
	}
	for i, s := range statements {
		more := 0
		if i < len(statements)-1 {
			more = doneMore
		}
		if !c.statement(r, s, more) {
			return
		}
	}
}

var (
	selectInt  = regexp.MustCompile(`^select (\d+)( as \w+)?$`)
	useName    = regexp.MustCompile(`^use \[?(\w+)\]?$`)
	waitForSQL = regexp.MustCompile(`^waitfor delay '00:00:(\d\d)'$`)
	selectNear = regexp.MustCompile(`^select ([@\w]+)( ?\( ?\))?$`)
)

// statement answers one statement and reports whether the next is to follow.
func (c *conn) statement(r *reply, text string, more int) bool {
	lower := strings.Join(strings.Fields(strings.ToLower(text)), " ")
	session := c.update(func(*Session) {})
	if m := selectInt.FindStringSubmatch(lower); m != nil {
		n, _ := strconv.Atoi(m[1])
		r.row(n)
		r.done(doneCount|more, 1)
		return true
	}
	if m := useName.FindStringSubmatch(lower); m != nil {
		i := slices.IndexFunc(c.s.o.Databases, func(d string) bool { return strings.EqualFold(d, m[1]) })
		if i < 0 {
			r.fail(sqlError{911, 1, 16, "Database '" + m[1] + "' does not exist. Make sure that the name is entered correctly."})
			r.done(doneError, 0)
			return false
		}
		name := c.s.o.Databases[i]
		c.update(func(s *Session) { s.Database = name })
		r.changeText(envDatabase, name, session.Database)
		r.info(5701, "Changed database context to '"+name+"'.")
		r.done(more, 0)
		return true
	}
	if m := waitForSQL.FindStringSubmatch(lower); m != nil {
		seconds, _ := strconv.Atoi(m[1])
		t := time.NewTimer(time.Duration(seconds) * time.Second)
		defer t.Stop()
		select {
		case <-t.C:
			r.done(more, 0)
			return true
		case <-c.messages: // ATTENTION, or the client hung up
			r.done(doneAttn, 0)
			return false
		}
	}
	if strings.HasPrefix(lower, "set ") {
		r.done(more, 0)
		return true
	}
	if m := selectNear.FindStringSubmatch(lower); m != nil {
		var value any
		switch m[1] + strings.ReplaceAll(m[2], " ", "") {
		case "suser_sname()", "system_user", "original_login()":
			value = session.User
		case "db_name()":
			value = session.Database
		case "@@spid":
			value = session.ID
		case "@@version":
			value = "Microsoft SQL Server (a stand-in)"
		}
		if value != nil {
			r.row(value)
			r.done(doneCount|more, 1)
			return true
		}
	}
	r.fail(sqlError{102, 1, 15, fmt.Sprintf("Incorrect syntax near '%s'.", strings.Fields(text)[0])})
	r.done(doneError, 0)
	return false
}
