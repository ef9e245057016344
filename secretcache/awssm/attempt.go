package awssm

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

const (
	opGet   = "GetSecretValue"
	opBatch = "BatchGetSecretValue"

	// The pause before the second attempt, less a random part of up to half. It doubles
	// before each later attempt.
	pauseBase, pauseThrottled = 50 * time.Millisecond, 200 * time.Millisecond
	pauseMax                  = time.Second
	// firstMin is the shortest time that the first of several attempts gets.
	firstMin = 250 * time.Millisecond
	// With less time left than attemptMin no other attempt is started.
	attemptMin = 50 * time.Millisecond
)

// A callFunc makes one call of the API through p's client.
type callFunc func(ctx context.Context, p *place) error

// A class says whether another attempt, or another region, may work after a failure.
type class int

const (
	local       class = iota // nothing was sent, or neither a retry nor a region will help
	negative                 // the service, or a server on the way to it, answered with an error
	throttled                // the service answered that there are too many requests
	unavailable              // no answer, or an answer that says the service is broken
	unreachable              // no answer, and that will not change soon
	behind                   // a replica answered with an old version
	ended                    // the caller's context ended
)

// A failure says why a region returned no secret.
type failure struct {
	class
	kind     error // a sentinel of secretcache, or nil
	cause    *cause
	retry    bool // another attempt in this region may work
	attempts int
	prev     *failure // of the attempt before, if the context ended after that attempt
}

// works reports whether the result of an attempt shows that p's region works. f is nil if
// the attempt succeeded. If a replica says that there is no such version, it has the secret.
// Any other error of a replica may mean that the secret is not replicated there.
func (f *failure) works(p *place) bool {
	switch {
	case f == nil:
		return true
	case p.first:
		return f.class == negative || f.class == throttled
	}
	return f.class == negative && errors.Is(f.kind, secretcache.ErrNoVersion)
}

// final reports whether no other region is asked after this failure.
func (f *failure) final(p *place) bool {
	if p.first {
		return f.class != unavailable && f.class != unreachable
	}
	return f.class == ended || f.class == local || f.works(p)
}

// lasts reports whether the next fetch is likely to fail in the same way. A timeout does not
// count, because one bad connection may be the reason.
func (f *failure) lasts() bool {
	return (f.class == throttled || f.class == unavailable) && !f.cause.timeout
}

// note notes the result of a fetch in the region. A timeout, and a context that ended, change
// nothing.
func (p *place) note(f *failure) {
	switch {
	case f == nil, f.class == negative, f.class == behind:
		p.failing.Set(false)
	case f.lasts():
		p.failing.Set(true)
	}
}

// do makes a call in the route's region. If that region does not answer, it makes the call in
// the fall-back regions.
func (s *Source) do(ctx context.Context, op, id string, rt route, call callFunc) *Error {
	var primary *failure // of the route's region
	var others []*Error  // of fall-back regions
	order, again := s.failover.order(rt.region, s.o.Regions)
	if again {
		defer func() { s.failover.tried(rt.region, primary != nil) }()
	}
	for i, region := range order {
		p := s.place(rt, region, op)
		attempts := s.maxAttempts(rt.cfg)
		if p.first && again {
			attempts = 1
		}
		// Stop trying the first region if another fetch has found that it is down.
		stay := func() bool { return !p.first || i > 0 || !s.failover.moved(rt.region, region) }
		report := func(f *failure) { secretcache.AttemptFailed(ctx, f.in(s, op, id, region)) }

		f := s.try(ctx, p, shareEnd(ctx, len(order)-i), attempts, stay, call, report)
		if f.works(p) {
			s.failover.worked(rt.region, region)
		}
		switch {
		case f == nil:
			return nil
		case f.class == ended:
			f.prev = cmp.Or(f.prev, primary)
			return f.in(s, op, id, region).and(others)
		case f.final(p):
			return f.in(s, op, id, region)
		case p.first:
			primary = f
		default:
			others = append(others, f.in(s, op, id, region))
		}
	}
	return primary.in(s, op, id, rt.region).and(others)
}

// shareEnd returns when a region's share of the time ends. left is the number of regions that
// have not been asked, this one included. It returns the zero time if only the context ends the
// share.
func shareEnd(ctx context.Context, left int) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	rest := time.Until(deadline)
	if n := min(time.Duration(left), rest/minShare); n > 1 {
		return time.Now().Add(rest / n)
	}
	return time.Time{}
}

// try makes attempts in one region until one succeeds or fails finally, or until it has made
// most attempts. If the last fetch failed in a way that lasts, and the first attempt does so
// too, that is the only attempt. Before each attempt after the first, stay says whether to go
// on. report is called for each attempt that failed.
func (s *Source) try(ctx context.Context, p *place, end time.Time, most int, stay func() bool, call callFunc, report func(*failure)) (f *failure) {
	failing := p.failing.Is()
	defer func() { p.note(f) }()
	var prev *failure
	for n := 1; ; n++ {
		f = s.attempt(ctx, p, &attempt{timeout: s.timeout(ctx, end, n), report: report}, call)
		if f == nil {
			return nil
		}
		f.attempts = n
		if f.class == ended {
			f.prev = prev
			return f
		}
		report(f)
		if !f.retry || n >= most || failing && f.lasts() || !stay() {
			return f
		}
		pause := f.pause(n)
		if left, bounded := remaining(ctx, end); bounded && left-pause < attemptMin {
			return f
		}
		if err := deadline.Sleep(ctx, pause); err != nil {
			return &failure{class: ended, cause: causeOf(err), prev: f, attempts: n}
		}
		prev = f
	}
}

// pause returns the time between the nth attempt and the next.
func (f *failure) pause(n int) time.Duration {
	base := pauseBase
	switch {
	case f.cause.timeout:
		return 0 // the attempt itself took long enough
	case f.class == throttled:
		base = pauseThrottled
	}
	return httpfetch.Pause(base, pauseMax, n)
}

// remaining returns the time until the context or the region's share ends.
func remaining(ctx context.Context, end time.Time) (left time.Duration, bounded bool) {
	deadline, ok := ctx.Deadline()
	if !end.IsZero() && (!ok || end.Before(deadline)) {
		deadline, ok = end, true
	}
	return time.Until(deadline), ok
}

// timeout returns how long the nth attempt may take. It returns zero if only the context ends
// the attempt, so that the error is the context's.
func (s *Source) timeout(ctx context.Context, end time.Time, n int) time.Duration {
	t := s.o.AttemptTimeout
	left, bounded := remaining(ctx, end)
	switch {
	case !bounded:
		return max(t, 0)
	case t > 0 && n == 1 && left/2 < t:
		t = max(left/2, firstMin)
	}
	if t > 0 && t < left {
		return t
	}
	if end.IsZero() {
		return 0
	}
	return max(left, 1)
}

func (s *Source) maxAttempts(cfg *aws.Config) int {
	switch n := s.o.MaxAttempts; {
	case n > 0:
		return n
	case n < 0:
		return 1
	case cfg != nil && cfg.RetryMaxAttempts > 0:
		return cfg.RetryMaxAttempts
	}
	return DefaultMaxAttempts
}

// An attempt is in the context of a call, for the middleware of our clients. The middleware
// bounds the time from sending the request to the end of the answer. The SDK runs the
// middleware in the goroutine that makes the call.
type attempt struct {
	timeout  time.Duration // zero: none
	sent     bool          // the request was signed and is being sent
	timedOut bool
	phase    string         // the step before the request is sent: "get AWS credentials from …: "
	report   func(*failure) // called with what the attempt waits for
}

type attemptKey struct{}

// attempt makes one call.
func (s *Source) attempt(ctx context.Context, p *place, at *attempt, call callFunc) *failure {
	if err := ctx.Err(); err != nil {
		return &failure{class: ended, cause: causeOf(err)}
	}
	timeout := at.timeout
	actx := context.WithValue(ctx, attemptKey{}, at)
	if p.transport == nil && timeout > 0 {
		var cancel context.CancelFunc
		actx, cancel = context.WithTimeout(actx, timeout)
		defer cancel()
	}
	err := call(actx, p)
	if err == nil {
		return nil
	}
	if p.transport == nil {
		at.timedOut = timeout > 0 && actx.Err() != nil && ctx.Err() == nil
	}

	f := classify(ctx, p, at, err)
	if at.timedOut || f.class == ended && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p.transport.hung()
	}
	return f
}

// retryStatus are the statuses after which the SDK would retry too.
var retryStatus = []int{
	http.StatusInternalServerError, http.StatusBadGateway,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// classify returns the failure for an error of a call.
func classify(ctx context.Context, p *place, at *attempt, err error) *failure {
	if errors.Is(err, ErrReplicaBehind) {
		return &failure{class: behind, cause: causeOf(ErrReplicaBehind)}
	}
	unsent := p.transport != nil && !at.sent
	c := clean(err, unsent)
	switch {
	case c.api == nil && ctx.Err() != nil:
		return &failure{class: ended, cause: causeOf(ctx.Err()).with(at.phase + ctx.Err().Error())}
	case c.api == nil && at.timedOut:
		c = causeOf(&httpfetch.TimeoutError{After: at.timeout})
		c.timeout = true
		return &failure{class: unavailable, cause: c, retry: true}
	case unsent:
		// The error is about credentials or the endpoint. Even if it holds an answer of
		// a service, that is not an answer of Secrets Manager.
		return &failure{class: local, cause: c}
	}
	f := c.failure()
	f.retry = f.retry && p.transport != nil // an Options.Client has its own retries
	return f
}

// failure returns the failure for the cause. The request was sent.
func (c *cause) failure() *failure {
	f := &failure{cause: c, class: local}
	switch {
	case c.throttled():
		f.class, f.kind, f.retry = throttled, secretcache.ErrThrottled, true
		if c.status >= 500 {
			f.class = unavailable
		}
	case c.status >= 500, c.code() == "InternalServiceError":
		f.class, f.retry = unavailable, c.status == 0 || slices.Contains(retryStatus, c.status)
	case c.api != nil:
		f.class, f.kind = negative, httpfetch.Kind(c.code(), c.api.ErrorMessage())
		_, again := retry.DefaultRetryableErrorCodes[c.code()]
		f.retry = again || c.skewed
	case c.status >= 300:
		f.class = negative // by a proxy or another server on the way
	case c.final: // local
	case c.permanent:
		f.class = unreachable
	case c.unreadable, c.transport:
		f.class, f.retry = unavailable, true
	}
	return f
}
