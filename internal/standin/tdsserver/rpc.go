package tdsserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/sqlmatch"
)

// The number of sp_executesql, 2.2.6.6 of MS-TDS, which runs a text with parameters.
const (
	procByNumber   = 0xffff
	procExecuteSQL = 10
)

// A param is one of a call.
type param struct {
	name  string
	value any // an int or a string
}

// call answers a remote procedure call, and reports whether it was one.
func (c *conn) call(r *reply, b []byte) bool {
	b, ok := afterHeaders(b)
	if !ok || len(b) < 6 {
		return false
	}
	if binary.LittleEndian.Uint16(b) != procByNumber || binary.LittleEndian.Uint16(b[2:]) != procExecuteSQL {
		r.fail(sqlError{2812, 62, 16, "Could not find stored procedure."})
		r.doneAs(tokenDoneProc, doneError, 0)
		return true
	}
	// Number, and flags: what follows are the text, the declarations and the values.
	params, err := readParams(b[6:])
	if err != nil || len(params) < 1 {
		r.fail(sqlError{8009, 1, 16, "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect: " + fmt.Sprint(err)})
		r.doneAs(tokenDoneProc, doneError, 0)
		return true
	}
	text, _ := params[0].value.(string)
	values := map[string]sqlmatch.Token{}
	for _, p := range params[min(2, len(params)):] {
		switch v := p.value.(type) {
		case int:
			values[strings.ToLower(p.name)] = sqlmatch.Token{Kind: sqlmatch.Word, Text: strconv.Itoa(v)}
		case string:
			values[strings.ToLower(p.name)] = sqlmatch.Token{Kind: sqlmatch.String, Text: v}
		}
	}
	c.update(func(s *Session) { s.Batches++ })
	status := 0
	if !c.text(r, text, values, tokenDoneIn) {
		status = doneError
	}
	*r = append(*r, tokenStatus)
	r.uint32(status) // 0, or another number
	r.doneAs(tokenDoneProc, status, 0)
	return true
}

// readParams reads parameters of text and whole numbers.
func readParams(b []byte) (params []param, err error) {
	take := func(n int) []byte {
		if n < 0 || n > len(b) {
			err, n = errors.New("it ends in the middle"), len(b)
		}
		taken := b[:n]
		b = b[n:]
		return taken
	}
	size := func(n int) int {
		v := 0
		for i, x := range take(n) {
			v |= int(x) << (8 * i)
		}
		return v
	}
	for len(b) > 0 && err == nil {
		p := param{name: fromUTF16(take(2 * size(1)))}
		size(1) // flags
		switch kind := size(1); kind {
		case typeIntN:
			size(1)
			n := size(1)
			p.value = size(n)
		case typeNVarChar:
			size(2)
			take(len(collation))
			n := size(2)
			if n == nullNVarChar {
				return nil, errors.New("a null")
			}
			p.value = fromUTF16(take(n))
		default:
			return nil, fmt.Errorf("data of type %#x", kind)
		}
		params = append(params, p)
	}
	return params, err
}
