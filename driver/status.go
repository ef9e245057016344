package driver

import "time"

// Status is what a connector knows, for a health page. It holds no value of the secret but the
// address, the database, and what the server says in Rejected, which may name the user.
type Status struct {
	SecretID string // of the data source name
	Stage    string // likewise
	// Version is the id of the version that new connections log in with. It and what follows
	// is zero before the first Connect call has read the secret.
	Version   string
	From      string    // the stage that Version came from: Stage, or a fallback stage
	CreatedAt time.Time // when the version was created; zero if the source does not say
	Address   string    // as in LoginInfo; empty if the version does not say where to log in
	Database  string
	// Accepted is when the server last accepted a login with the version; zero if it has not,
	// or has rejected one since.
	Accepted time.Time
	// Rejected is what the server said when it last rejected the version; nil if it has not, or
	// has accepted one since.
	Rejected error
}

// Status returns what the connector knows. It calls neither the database nor the source. The state
// of a login that is under way is not in it.
func (c *Connector) Status() Status {
	s := Status{SecretID: c.source.secretID, Stage: c.source.stage}
	active, _ := c.resolver.use()
	if active.secret == nil {
		return s
	}
	s.Version, s.From, s.CreatedAt = active.version(), active.stage, active.secret.CreatedAt()
	if t := active.target; t != nil {
		s.Address, s.Database = t.address, t.database
	}
	s.Accepted, s.Rejected = c.gate.lastOutcome(active.key())
	return s
}

// lastOutcome returns when k was accepted last, or why it was rejected since.
func (g *gate) lastOutcome(k loginKey) (acceptedAt time.Time, rejected error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch e := g.verdicts[k]; {
	case e == nil:
	case e.state == verdictAccepted:
		acceptedAt = time.Now().Add(e.accepted - g.clock.Now())
	case e.state == verdictRejected:
		rejected = e.err
	}
	return acceptedAt, rejected
}

// Status returns what the connector of the engine knows that the last Connect call was for. Before
// the secret has told the engine, it has the SecretID and the Stage only.
func (c *AnyConnector) Status() Status {
	if one := c.used.Load(); one != nil {
		return one.Status()
	}
	return Status{SecretID: c.id, Stage: c.source.stage}
}
