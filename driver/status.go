package driver

import "time"

// Status describes the version of the secret that new connections use, for example for a health
// page. Of the secret's values it has only the address and the database. The text of Rejected may
// name the user.
//
// All fields but SecretID and Stage are zero until the first Connect call has read the secret.
type Status struct {
	SecretID  string    // as in the data source name
	Stage     string    // version stage of the data source name, "AWSCURRENT" by default
	Version   string    // id of the version that new connections log in with
	From      string    // stage that Version came from: Stage, or a fallback stage
	CreatedAt time.Time // when the version was created; zero if the source does not say it
	Address   string    // as in LoginInfo.Address; empty if the version does not say where to log in
	Database  string
	// Accepted is when the server last accepted a login with the version. It is zero if the
	// server has accepted none, or has rejected a later one.
	Accepted time.Time
	// Rejected is the server's error when it last rejected the version. It is nil if the server
	// has rejected none, or has accepted a later one.
	Rejected error
}

// Status returns what the connector knows now. It calls neither the database nor the source, and
// does not wait for logins that are under way. It may be called at any time from several
// goroutines.
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

// lastOutcome returns when the server last accepted k, or its error if it has rejected k since.
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

// Status returns the [Status] of the connector that the last Connect call used. Only SecretID and
// Stage are set until the connector has read from the secret which engine to use.
func (c *AnyConnector) Status() Status {
	if one := c.used.Load(); one != nil {
		return one.Status()
	}
	return Status{SecretID: c.id, Stage: c.source.stage}
}
