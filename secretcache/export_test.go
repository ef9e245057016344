package secretcache

import (
	"time"
	"unsafe"
)

// Age is the age that a secret fetched at fetched has.
func Age(fetched, now time.Time) time.Duration { return (&state{fetched: fetched}).age(now) }

// RecheckDue reports whether a Recheck that is due at due may fetch at now.
func RecheckDue(due, now time.Time) bool { return (&entry{recheck: due}).recheckDue(now) }

// MoveWall returns t with its wall time moved by whole seconds and its monotonic
// clock untouched, which no method of Time does.
func MoveWall(t time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t)) // 1 bit, 33 bits of seconds, 30 of nanoseconds
	*wall += uint64(by/time.Second) << 30
	return t
}
