package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// peekEvery is how often connections that are handed out look into the cache.
const peekEvery = time.Second

// noWait is the context of a look into the cache that does not wait: what has to be
// fetched is there at the next.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// superseded reports whether a connection that was opened with a version is to be
// closed: there is another one now, and the server accepts it. Until it does, the
// connection is the better one.
func (c *Connector) superseded(login LoginInfo) bool {
	c.peek()
	switch c.guard.standing(login.Version) {
	case unproven:
		c.prove()
	case replaced:
		if !c.mayClose() {
			return false
		}
		c.o.Logger.Info("a connection is closed whose version of the secret is superseded",
			"secret", login.SecretID, "version", login.Version, "address", login.Address)
		return true
	}
	return false
}

// A query for which a pool finds three bad connections in a row fails. So after one
// is closed, closeAfter checkouts of others that are due are let pass, or closeEvery.
const (
	closeAfter = 64
	closeEvery = time.Second
)

// mayClose reports whether one more superseded connection may be closed by now.
func (c *Connector) mayClose() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.passed < closeAfter && now.Sub(c.closed) < closeEvery {
		c.passed++
		return false
	}
	c.passed, c.closed = 0, now
	return true
}

// peek learns which version the stage names, without waiting for it.
func (c *Connector) peek() {
	now := time.Now().UnixNano()
	last := c.peeked.Load()
	if now-last < int64(peekEvery) || !c.peeked.CompareAndSwap(last, now) {
		return
	}
	secrets, err := c.secretsAt()
	if err != nil {
		return
	}
	generation := c.guard.generation()
	var s *secretcache.Secret
	if rejected := c.guard.superseding(); rejected != nil {
		// A rotation is under way, and what is cached until its TTL is rejected.
		s, err = secrets.Refresh(noWait, c.source.secretID, c.source.stage, rejected)
	} else {
		s, err = secrets.Get(noWait, c.source.secretID, c.source.stage)
	}
	if err == nil {
		c.guard.observe(generation, s.VersionID())
	}
}

// A proof is a login that no pool asked for, to learn whether the server accepts the
// version that replaces an older one.
type proof struct {
	underWay bool
	pause    *backoff.Backoff
}

// prove starts a proof unless one is under way or has failed lately.
func (c *Connector) prove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proof.underWay || c.proof.pause.Wait(time.Now()) > 0 {
		return
	}
	c.proof.underWay = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), DefaultConnectTimeout)
		defer cancel()
		worked := false
		defer func() {
			// A panic of the vendor's driver would end the program, which has not asked
			// for this login.
			p := recover()
			c.mu.Lock()
			c.proof.underWay = false
			if worked {
				c.proof.pause = nil // but for the first
			}
			c.proof.pause = c.proof.pause.Next(time.Now(), lookBase, lookMax) // the guard spaces logins
			c.mu.Unlock()
			if p != nil {
				c.o.Logger.Error("panic in the login that was to try a newer version of the secret",
					"secret", c.source.secretID, "type", fmt.Sprintf("%T", p)) // what p prints may hold a secret
			}
		}()
		if conn, err := c.connect(ctx, 0); err == nil {
			worked = true
			_ = conn.Close()
		}
	}()
}
