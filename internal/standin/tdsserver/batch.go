package tdsserver

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/sqlmatch"
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
	tokenDoneProc  = 0xfe
	tokenDoneIn    = 0xff // DONEINPROC
	tokenStatus    = 0x79 // RETURNSTATUS
)

// Types of data, 2.2.5.4.
const (
	typeIntN     = 0x26
	typeBitN     = 0x68
	typeNVarChar = 0xe7

	maxNVarChar  = 8000   // bytes
	nullNVarChar = 0xffff // for a length
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

func (r *reply) done(status, rows int) { r.doneAs(tokenDone, status, rows) }

// doneAs adds a DONE, or what stands for it in a procedure, where more always follows.
func (r *reply) doneAs(kind byte, status, rows int) {
	if kind == tokenDoneIn {
		status |= doneMore
	}
	*r = append(*r, kind)
	r.uint16(status)
	r.uint16(0xc1) // SELECT
	*r = binary.LittleEndian.AppendUint64(*r, uint64(rows))
}

// table adds a result.
func (r *reply) table(t *table) {
	*r = append(*r, tokenColumns)
	r.uint16(len(t.columns))
	for _, c := range t.columns {
		r.uint32(0) // the user's type
		r.uint16(1) // it may be null
		switch c.kind.(type) {
		case int:
			*r = append(*r, typeIntN, 4)
		case bool:
			*r = append(*r, typeBitN, 1)
		case string:
			*r = append(*r, typeNVarChar)
			r.uint16(maxNVarChar)
			*r = append(*r, collation...)
		}
		r.short(c.name)
	}
	for _, row := range t.rows {
		*r = append(*r, tokenRow)
		for i, value := range row {
			r.value(t.columns[i].kind, value)
		}
	}
}

func (r *reply) value(kind, value any) {
	switch v := value.(type) {
	case int:
		*r = append(*r, 4)
		r.uint32(v)
	case bool:
		b := byte(0)
		if v {
			b = 1
		}
		*r = append(*r, 1, b)
	case string:
		b := toUTF16(v)
		r.uint16(len(b))
		*r = append(*r, b...)
	case nil:
		if _, ok := kind.(string); ok {
			r.uint16(nullNVarChar)
		} else {
			*r = append(*r, 0)
		}
	}
}

// serveBatches answers what comes after the login.
func (c *conn) serveBatches() {
	defer func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.end(false)
	}()
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
			c.update(func(s *Session) { s.Resets++; s.Database = c.database; c.end(false) })
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
			if !c.call(&r, m.body) {
				return
			}
		default:
			return
		}
		if c.write(typeReply, r) != nil {
			return
		}
	}
}

func (c *conn) update(f func(*Session)) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	f(&c.session)
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
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	switch binary.LittleEndian.Uint16(b) {
	case 5:
		c.transacting = true
		r.change(envBegin, id, []byte{0})
	case 7:
		c.end(true)
		r.change(envCommit, []byte{0}, id)
	case 8:
		c.end(false)
		r.change(envRollback, []byte{0}, id)
	default:
		return false
	}
	r.done(0, 0)
	return true
}

// batch answers statements with ";" between, up to the first that fails.
func (c *conn) batch(r *reply, b []byte) {
	b, ok := afterHeaders(b)
	if !ok {
		r.fail(sqlError{4002, 1, 16, "The incoming tabular data stream (TDS) protocol stream is incorrect."})
		r.done(doneError, 0)
		return
	}
	c.text(r, fromUTF16(b), nil, tokenDone)
}

// text answers the statements of a text, and reports whether all succeeded. Values take
// the place of parameters. Each answer ends with a token of the kind of DONE.
func (c *conn) text(r *reply, text string, values map[string]sqlmatch.Token, kind byte) bool {
	tokens, err := sqlmatch.Split(text)
	if err != nil {
		r.fail(sqlError{105, 1, 15, "Unclosed quotation mark after the character string."})
		r.doneAs(kind, doneError, 0)
		return false
	}
	for i, t := range tokens {
		if value, ok := values[strings.ToLower(t.Text)]; ok && t.Kind == sqlmatch.Word {
			tokens[i] = value
		}
	}
	var all [][]sqlmatch.Token
	for end := 0; end >= 0; {
		if end = slices.Index(tokens, sqlmatch.Token{Kind: sqlmatch.Sign, Text: ";"}); end < 0 {
			all = append(all, tokens)
		} else {
			all, tokens = append(all, tokens[:end]), tokens[end+1:]
		}
	}
	all = slices.DeleteFunc(all, func(s []sqlmatch.Token) bool { return len(s) == 0 })
	if len(all) == 0 {
		r.doneAs(kind, 0, 0)
	}
	for i, s := range all {
		more := 0
		if i < len(all)-1 {
			more = doneMore
		}
		if !c.statement(r, s, more, kind) {
			return false
		}
	}
	return true
}

var (
	useDatabase = sqlmatch.Compile("USE <name>")
	waitFor     = sqlmatch.Compile("WAITFOR DELAY <string>")
	setOption   = sqlmatch.Compile("SET <rest>")
)

// statement answers one statement and reports whether the next is to follow.
func (c *conn) statement(r *reply, tokens []sqlmatch.Token, more int, kind byte) bool {
	if args, ok := waitFor.Match(tokens); ok {
		t, err := time.Parse("15:04:05", args[0].Text)
		if err != nil {
			r.fail(sqlError{148, 1, 15, "Incorrect time syntax in time string '" + args[0].Text + "' used with WAITFOR."})
			r.doneAs(kind, doneError, 0)
			return false
		}
		if !c.wait(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second) {
			r.doneAs(kind, doneAttn, 0)
			return false
		}
		r.doneAs(kind, more, 0)
		return true
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if args, ok := useDatabase.Match(tokens); ok {
		return c.use(r, args[0].Text, more, kind)
	}
	if _, ok := setOption.Match(tokens); ok {
		r.doneAs(kind, more, 0)
		return true
	}
	c.tokens = tokens
	t, err := c.run()
	switch {
	case err != nil:
		r.fail(*err)
		r.doneAs(kind, doneError, 0)
		return false
	case t != nil:
		r.table(t)
		r.doneAs(kind, doneCount|more, len(t.rows))
	default:
		r.doneAs(kind, more, 0)
	}
	return true
}

// wait waits, and reports whether nothing came in between: ATTENTION, or the end of
// the connection.
func (c *conn) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.messages:
		return false
	}
}

// use changes the database.
func (c *conn) use(r *reply, name string, more int, kind byte) bool {
	d := c.s.database(name)
	switch {
	case d == nil:
		r.fail(sqlError{911, 1, 16, "Database '" + name + "' does not exist. Make sure that the name is entered correctly."})
	case !c.me().enters(d):
		r.fail(sqlError{916, 1, 14, "The server principal \"" + c.session.User + "\" is not able to access the database \"" + d.name + "\" under the current security context."})
	default:
		r.changeText(envDatabase, d.name, c.session.Database)
		r.info(5701, "Changed database context to '"+d.name+"'.")
		r.doneAs(kind, more, 0)
		c.session.Database = d.name
		return true
	}
	r.doneAs(kind, doneError, 0)
	return false
}

// run runs the statement of c.tokens, if it is one that the server knows.
func (c *conn) run() (*table, *sqlError) {
	for _, s := range statements {
		if args, ok := s.pattern.Match(c.tokens); ok {
			values := make([]string, len(args))
			for i, a := range args {
				values[i] = a.Text
			}
			return s.run(c, values)
		}
	}
	return nil, c.incorrect()
}

// incorrect is the error for a statement that the server does not know.
func (c *conn) incorrect() *sqlError {
	return &sqlError{102, 1, 15, "Incorrect syntax near '" + c.tokens[0].Text + "'."}
}
