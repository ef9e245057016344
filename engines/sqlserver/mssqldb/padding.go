package mssqldb

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
)

// padded returns a text in the form that go-mssqldb needs. LOGIN7 has the length of a text in
// UTF-16 units, and go-mssqldb v1.11.2 counts characters. A character beyond U+FFFF has two units,
// so the server reads one unit too few for each, and rejects a password that has such a character.
// padded adds one space for each of them. The length is then that of the text without the spaces,
// and the spaces lie between two texts, where no server reads.
func padded(s string) string {
	extra := units(s) - len([]rune(s))
	if extra == 0 || !countsCharacters() {
		return s
	}
	return s + strings.Repeat(" ", extra)
}

// countsCharacters reports whether go-mssqldb counts characters, because a later version may count
// units. It lets go-mssqldb log in to a pipe and reads the length that it sends.
var countsCharacters = sync.OnceValue(func() bool {
	client, server := net.Pipe()
	length := make(chan uint16, 1)
	go func() {
		defer server.Close()
		_ = server.SetDeadline(time.Now().Add(time.Second))
		length <- loginLength(server)
	}()
	connector := mssql.NewConnectorConfig(msdsn.Config{Host: "pipe", Port: 1, User: "\U0001F600", Workstation: "pipe",
		Protocols: []string{"tcp"}, Encryption: msdsn.EncryptionDisabled, NoTraceID: true})
	connector.Dialer = pipe{client}
	_, _ = connector.Connect(context.Background())
	_ = client.Close()
	return <-length == 1
})

// loginLength answers a PRELOGIN and returns the length of the user's name in the LOGIN7 after it,
// or 0.
func loginLength(c net.Conn) uint16 {
	for _, answer := range [][]byte{
		// The answer has a version, and says that encryption is not supported.
		{4, 1, 0, 26, 0, 0, 1, 0, 0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2},
		nil,
	} {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c, head); err != nil {
			return 0
		}
		body := make([]byte, binary.BigEndian.Uint16(head[2:])-8)
		if _, err := io.ReadFull(c, body); err != nil {
			return 0
		}
		if answer == nil && len(body) > 44 {
			return binary.LittleEndian.Uint16(body[42:]) // cchUserName
		}
		if _, err := c.Write(answer); err != nil {
			return 0
		}
	}
	return 0
}

// A pipe is a dialer that returns a given connection.
type pipe struct{ net.Conn }

func (p pipe) DialContext(context.Context, string, string) (net.Conn, error) { return p.Conn, nil }

func (p pipe) HostName() string { return "" }
