package driver

import (
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/internal/clock"
)

// In an outage the secret is read again after a random time between these two, so a failover does not
// make the whole fleet call Secrets Manager.
const outageMin, outageMax = time.Minute, 5 * time.Minute

// An outage is a time in which no login reaches the password check: the database is down,
// or it has moved.
type outage struct {
	clock *clock.Clock
	due   atomic.Int64 // when the secret is to be read again, by clock; 0 without an outage
}

// note is called when a login has failed.
func (o *outage) note() {
	if o.due.Load() == 0 {
		o.due.CompareAndSwap(0, int64(o.clock.Now()+outageMin+chance.UpTo(outageMax-outageMin)))
	}
}

// over is called when a login has succeeded.
func (o *outage) over() { o.due.Store(0) }

// recheckDue reports whether to read the secret again. The cache may still decline, because it limits
// how often that happens.
func (o *outage) recheckDue() bool {
	due := o.due.Load()
	return due != 0 && int64(o.clock.Now()) >= due
}
