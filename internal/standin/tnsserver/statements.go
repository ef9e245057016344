package tnsserver

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// statements are the only statements that the server knows, by their exact text without the space
// around it. The tests send them, and so does go-ora after a login. Each returns one value.
var statements = map[string]func(s *session) *result{
	"SELECT 1 FROM DUAL":                            number("1", 1),
	"SELECT 40 + 2 FROM DUAL":                       number("40+2", 42),
	`SELECT 42 AS "answer" FROM DUAL`:               number("answer", 42),
	"SELECT banner FROM v$version WHERE ROWNUM = 1": func(*session) *result { return text("BANNER", "Oracle Database, a stand-in") },

	"SELECT USER FROM DUAL":       func(s *session) *result { return text("USER", s.user) },
	"SELECT DBTIMEZONE FROM DUAL": func(*session) *result { return text("DBTIMEZONE", "+00:00") },
	"SELECT SYSTIMESTAMP FROM DUAL": func(*session) *result {
		return &result{column: "SYSTIMESTAMP", kind: typeTimestampTZ, value: encodeTime(time.Now().UTC())}
	},
	"SELECT SYS_CONTEXT('USERENV', 'SESSIONID') FROM DUAL": func(s *session) *result {
		return text("SYS_CONTEXT('USERENV','SESSIONID')", strconv.Itoa(s.id))
	},
	"SELECT SYS_CONTEXT('USERENV', 'NETWORK_PROTOCOL') FROM DUAL": func(s *session) *result {
		return text("SYS_CONTEXT('USERENV','NETWORK_PROTOCOL')", s.protocolName())
	},
}

// run returns the result of a statement, or nil if the server does not know it.
func (s *session) run(statement string) *result {
	answer := statements[strings.TrimSpace(statement)]
	if answer == nil {
		return nil
	}
	return answer(s)
}

// Types of columns.
const (
	typeVarchar     = 1
	typeNumber      = 2
	typeTimestampTZ = 181
)

// A result has one row of one column.
type result struct {
	column string
	kind   byte
	value  string // in the form in which it is sent
	sent   bool
}

func text(column, value string) *result {
	return &result{column: column, kind: typeVarchar, value: value}
}

// number encodes a number from 1 to 99: an exponent, and a digit of base 100 plus one.
func number(column string, n byte) func(*session) *result {
	return func(*session) *result {
		return &result{column: column, kind: typeNumber, value: string([]byte{0xc1, n + 1})}
	}
}

// encodeTime encodes a time of UTC, as a TIMESTAMP WITH TIME ZONE.
func encodeTime(t time.Time) string {
	b := []byte{byte(100 + t.Year()/100), byte(100 + t.Year()%100), byte(t.Month()), byte(t.Day()),
		byte(t.Hour() + 1), byte(t.Minute() + 1), byte(t.Second() + 1)}
	b = binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
	return string(append(b, 20, 60))
}
