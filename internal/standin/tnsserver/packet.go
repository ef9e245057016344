package tnsserver

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Types of TNS packets.
const (
	packetConnect  = 1
	packetAccept   = 2
	packetRefuse   = 4
	packetRedirect = 5
	packetData     = 6
	packetResend   = 11
	packetMarker   = 12
)

// Kinds of markers.
const (
	markerBreak     = 1
	markerReset     = 2
	markerInterrupt = 3
)

const (
	headerSize = 8
	dataOffset = 10 // of the data in a data packet, after the flags
	dataEOF    = 0x40
	unitSize   = 8192 // size of the session data unit
)

// A wire reads and writes packets, and the fields of TTC in data packets.
type wire struct {
	net.Conn
	large bool   // packets have lengths of 32 bits
	in    []byte // the unread part of the data packet
	out   []byte
}

// packet reads one packet.
func (w *wire) packet() (kind byte, p []byte) {
	head := make([]byte, headerSize)
	_, err := io.ReadFull(w.Conn, head)
	check(err)
	if head[0] == 22 && head[1] == 3 {
		fail("TLS where there is none")
	}
	n := int(binary.BigEndian.Uint16(head))
	if w.large {
		n = int(binary.BigEndian.Uint32(head))
	}
	if n < headerSize || n > 1<<22 {
		fail("a packet of %d bytes", n)
	}
	p = make([]byte, n)
	copy(p, head)
	_, err = io.ReadFull(w.Conn, p[headerSize:])
	check(err)
	return p[4], p
}

// send writes one packet. The packet has room for the header.
func (w *wire) send(kind, flags byte, p []byte) {
	if w.large {
		binary.BigEndian.PutUint32(p, uint32(len(p)))
	} else {
		binary.BigEndian.PutUint16(p, uint16(len(p)))
	}
	p[4], p[5] = kind, flags
	_, err := w.Write(p)
	check(err)
}

func (w *wire) marker(kind byte) {
	w.send(packetMarker, 0, []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, kind})
}

// flush sends everything that was put, as data packets.
func (w *wire) flush() {
	for len(w.out) > 0 {
		n := min(len(w.out), unitSize-dataOffset)
		w.send(packetData, 0, append(make([]byte, dataOffset), w.out[:n]...))
		w.out = w.out[n:]
	}
	w.out = nil
}

// more reads the next data packet.
func (w *wire) more() {
	kind, p := w.packet()
	switch {
	case kind == packetMarker:
		w.interrupted(p)
	case kind != packetData || len(p) < dataOffset:
		fail("a packet of type %d where there should be data", kind)
	case p[9]&dataEOF != 0:
		check(io.EOF)
	default:
		w.in = append(w.in, p[dataOffset:]...)
	}
}

// interrupted answers a break of the client with markers and an error.
func (w *wire) interrupted(p []byte) {
	if p[len(p)-1] == markerReset {
		return
	}
	w.in = nil
	w.marker(markerBreak)
	w.awaitReset()
	w.marker(markerReset)
	w.summary(1013, 0, 0)
	w.flush()
}

func (w *wire) awaitReset() {
	for {
		if kind, p := w.packet(); kind == packetMarker && p[len(p)-1] == markerReset {
			return
		}
	}
}

func (w *wire) bytes(n int) []byte {
	for len(w.in) < n {
		w.more()
	}
	b := w.in[:n]
	w.in = w.in[n:]
	return b
}

func (w *wire) byte() byte { return w.bytes(1)[0] }

// num reads a number that has its length before it.
func (w *wire) num() int {
	n := int(w.byte() & 0x7f)
	if n > 8 {
		fail("a number of %d bytes", n)
	}
	v := 0
	for _, b := range w.bytes(n) {
		v = v<<8 | int(b)
	}
	return v
}

func (w *wire) skipNums(n int) {
	for range n {
		w.num()
	}
}

// text reads a string that has its length before it, or comes in chunks.
func (w *wire) text() string {
	n := w.byte()
	switch n {
	case 0, 0xff:
		return ""
	case 0xfe:
		var b []byte
		for n := w.num(); n > 0; n = w.num() {
			b = append(b, w.bytes(n)...)
		}
		return string(b)
	}
	return string(w.bytes(int(n)))
}

// lengthAndText reads a length and, unless that is 0, a string.
func (w *wire) lengthAndText() string {
	if w.num() == 0 {
		return ""
	}
	return w.text()
}

func (w *wire) put(b ...byte) { w.out = append(w.out, b...) }

func (w *wire) putNum(n int) {
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	w.put(byte(len(b)))
	w.put(b...)
}

func (w *wire) putText(s string) {
	if len(s) < 0xfd {
		w.put(byte(len(s)))
		w.put([]byte(s)...)
		return
	}
	w.put(0xfe)
	w.putNum(len(s))
	w.put([]byte(s)...)
	w.putNum(0)
}

func (w *wire) putLengthAndText(s string) {
	w.putNum(len(s))
	if s != "" {
		w.putText(s)
	}
}

// A pair is a keyword, its value and a flag.
type pair struct {
	key, value string
	flag       int
}

func (w *wire) pairs(n int) map[string]string {
	m := map[string]string{}
	for range n {
		key := w.lengthAndText()
		m[key] = w.lengthAndText()
		w.num()
	}
	return m
}

func (w *wire) putPairs(ps []pair) {
	for _, p := range ps {
		w.putLengthAndText(p.key)
		w.putLengthAndText(p.value)
		w.putNum(p.flag)
	}
}

// A wireError ends a connection. The methods of wire panic with a wireError, so that they need not
// return an error.
type wireError struct{ error }

func check(err error) {
	if err != nil {
		panic(wireError{err})
	}
}

func fail(format string, args ...any) { check(fmt.Errorf(format, args...)) }
