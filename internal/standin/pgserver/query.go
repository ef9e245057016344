package pgserver

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// OIDs of types.
const (
	oidBool = 16
	oidInt4 = 23
	oidText = 25
)

// A result has one column and one row, or only a tag.
type result struct {
	tag    string
	oid    uint32 // type of the column; 0: no row
	text   string
	binary []byte
}

// result returns the answer to a statement. It knows the queries of target_session_attrs, and the
// beginning and the end of a transaction. The answer to every other statement is 1.
func (ss *session) result(sql string) result {
	text := func(oid uint32, on bool, yes, no string) result {
		if !on {
			yes = no
		}
		return result{"SELECT 1", oid, yes, []byte(yes)}
	}
	sql = strings.ToLower(strings.TrimSpace(sql))
	word, _, _ := strings.Cut(sql, " ")
	switch word {
	case "", ";", "--": // pgx's ping
		return result{}
	case "begin":
		ss.status = 'T'
		return result{tag: "BEGIN"}
	case "notify":
		return result{tag: "NOTIFY"}
	case "commit", "rollback":
		ss.status = 'I'
		return result{tag: strings.ToUpper(word)}
	}
	switch sql {
	case "show transaction_read_only":
		return text(oidText, ss.s.Standby, "on", "off")
	case "select pg_is_in_recovery()":
		return text(oidBool, ss.s.Standby, "t", "f")
	}
	return result{"SELECT 1", oidInt4, "1", binary.BigEndian.AppendUint32(nil, 1)}
}

func (r result) describe() pgproto3.BackendMessage {
	if r.oid == 0 {
		return &pgproto3.NoData{}
	}
	return &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("v"), DataTypeOID: r.oid, DataTypeSize: -1}}}
}

// rows returns the row, if there is one, and the tag.
func (r result) rows(inBinary bool) (msgs []pgproto3.BackendMessage) {
	switch {
	case r.tag == "":
		return []pgproto3.BackendMessage{&pgproto3.EmptyQueryResponse{}}
	case r.oid != 0 && inBinary:
		msgs = append(msgs, &pgproto3.DataRow{Values: [][]byte{r.binary}})
	case r.oid != 0:
		msgs = append(msgs, &pgproto3.DataRow{Values: [][]byte{[]byte(r.text)}})
	}
	return append(msgs, &pgproto3.CommandComplete{CommandTag: []byte(r.tag)})
}

// answer answers queries until the connection ends.
func (ss *session) answer() {
	prepared := map[string]string{}
	var q Query // the query that is being bound
	for {
		msg, err := ss.backend.Receive()
		if err != nil {
			return
		}
		switch msg := msg.(type) {
		case *pgproto3.Query:
			if ss.stops(AtQuery) {
				return
			}
			ss.note(Query{Simple: true, SQL: msg.String})
			r := ss.result(msg.String)
			if r.oid != 0 {
				ss.send(r.describe())
			}
			ss.send(r.rows(false)...)
			if channel, ok := strings.CutPrefix(msg.String, "NOTIFY "); ok { // to itself
				ss.send(&pgproto3.NotificationResponse{PID: 1, Channel: channel})
			}
			ss.send(&pgproto3.ReadyForQuery{TxStatus: ss.status})
		case *pgproto3.Parse:
			prepared[msg.Name] = msg.Query
			q = Query{Name: msg.Name, SQL: msg.Query}
			ss.send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			q = Query{Name: msg.PreparedStatement, SQL: prepared[msg.PreparedStatement],
				Formats: append(slices.Clone(msg.ParameterFormatCodes), msg.ResultFormatCodes...)}
			ss.send(&pgproto3.BindComplete{})
		case *pgproto3.Describe:
			sql := q.SQL
			if msg.ObjectType == 'S' {
				sql = prepared[msg.Name]
				ss.send(&pgproto3.ParameterDescription{ParameterOIDs: make([]uint32, strings.Count(sql, "$"))})
			}
			before := ss.status
			r := ss.result(sql)
			ss.status = before // the statement is not executed yet
			ss.send(r.describe())
		case *pgproto3.Execute:
			if ss.stops(AtQuery) {
				return
			}
			ss.note(q)
			n := len(q.Formats)
			ss.send(ss.result(q.SQL).rows(n > 0 && q.Formats[n-1] == 1)...)
		case *pgproto3.Close:
			ss.send(&pgproto3.CloseComplete{})
		case *pgproto3.Sync:
			ss.send(&pgproto3.ReadyForQuery{TxStatus: ss.status})
		}
	}
}

func (ss *session) note(q Query) {
	ss.s.mu.Lock()
	defer ss.s.mu.Unlock()
	ss.s.queries = append(ss.s.queries, q)
}
