package agent

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

const (
	// The pause before the second attempt, less a random part of up to half. It doubles
	// before each later attempt.
	pauseBase, pauseBusy, pauseMax = 50 * time.Millisecond, 200 * time.Millisecond, time.Second
	// The longest pause while there is no server.
	pauseAway = 500 * time.Millisecond
	// firstMin is the shortest time that the first of several attempts gets.
	firstMin = 250 * time.Millisecond
	// With less time left than attemptMin no other attempt is started.
	attemptMin = 50 * time.Millisecond
	// If no fetch has come for this time, the next failure begins a new outage.
	outageGap = 2 * time.Minute
	// maxAnswer bounds an answer. A value has up to 65,536 bytes, and JSON may write each as six.
	maxAnswer = 1 << 20
)

// A call is one Fetch.
type call struct {
	s         *Source
	id        string
	url       string
	token     *token
	rejected  *token   // the token that the server did not accept, or nil
	rejection *failure // the server's answer to rejected
	attempts  int      // number of attempts that failed, without waits
	waits     int      // number of attempts that did not find the server
	failing   bool     // the last fetch failed for a reason that is likely to last
	prev      *failure // of the last attempt
}

func (s *Source) fetch(ctx context.Context, id, stage string, fresh bool) (*secretcache.Secret, error) {
	switch err := secretid.Check(id); {
	case err != nil:
		return nil, s.error("", &failure{text: err.Error()}, 0)
	case s.optErr != nil:
		return nil, s.error(id, &failure{text: s.optErr.Error()}, 0)
	case fresh && s.extension:
		return nil, s.error(id, &failure{text: "it cannot bypass its cache", err: errors.ErrUnsupported}, 0)
	}
	c := &call{s: s, id: id, url: s.url(id, stage, fresh), failing: s.failing.Is()}
	for {
		secret, f := c.attempt(ctx)
		if f == nil {
			s.failing.Set(false)
			return secret, nil
		}
		pause, again := c.next(f)
		err := s.error(id, f, c.attempts+c.waits)
		if left, bounded := remaining(ctx); !again || bounded && left-pause < attemptMin {
			s.note(f)
			return nil, err
		}
		c.prev = f
		secretcache.AttemptFailed(ctx, err)
		if deadline.Sleep(ctx, pause) != nil {
			return nil, s.error(id, c.end(ctx), 0)
		}
	}
}

// note notes why a fetch failed. A timeout, and a server that is not there, change nothing.
func (s *Source) note(f *failure) {
	switch {
	case f.lasts():
		s.failing.Set(true)
	case f.class == final:
		s.failing.Set(false)
	}
}

// url returns the URL of a request for a secret.
func (s *Source) url(id, stage string, fresh bool) string {
	// Always send the stage: the agent caches a request without a stage apart from one with it.
	q := url.Values{"secretId": {id}, "versionStage": {cmp.Or(stage, secretcache.StageCurrent)}}
	if fresh {
		q.Set("refreshNow", "true")
	}
	if s.o.RoleARN != "" {
		q.Set("roleArn", s.o.RoleARN)
	}
	u := s.base
	u.Path, u.RawQuery = "/secretsmanager/get", q.Encode()
	return u.String()
}

// next counts a failure. It returns whether to make another attempt, and after which pause.
func (c *call) next(f *failure) (pause time.Duration, again bool) {
	switch f.class {
	case away:
		c.waits++
		return httpfetch.Pause(pauseBase, pauseAway, c.waits), c.s.away.lasts(time.Now()) < c.s.o.StartTimeout
	case badToken:
		if c.rejected != nil {
			return 0, false
		}
		c.token, c.rejected, c.rejection = nil, c.token, f
		return 0, true
	case busy:
		c.attempts++
		pause = httpfetch.Pause(pauseBusy, pauseMax, c.attempts)
	case broken:
		c.attempts++
		pause = httpfetch.Pause(pauseBase, pauseMax, c.attempts)
	case hung:
		c.attempts++ // without a pause: the attempt itself took long enough
	default:
		return 0, false
	}
	return pause, c.attempts < c.s.o.MaxAttempts && !(c.failing && f.lasts())
}

// end returns the failure of a call whose context has ended.
func (c *call) end(ctx context.Context) *failure {
	err := deadline.Err(ctx)
	return &failure{class: ended, text: err.Error(), err: err, prev: c.prev}
}

// attempt asks the server once.
func (c *call) attempt(ctx context.Context) (*secretcache.Secret, *failure) {
	if deadline.Err(ctx) != nil {
		return nil, c.end(ctx)
	}
	if f := c.needToken(); f != nil {
		return nil, f
	}
	actx, cancel := ctx, context.CancelFunc(func() {})
	timeout := c.timeout(ctx)
	if timeout > 0 {
		actx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()

	connected := false
	secret, f, err := c.ask(httptrace.WithClientTrace(actx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	}))
	switch {
	case err == nil:
		if f == nil || f.class != away {
			c.s.away.over()
		}
		return secret, f
	case deadline.Err(ctx) != nil:
		return nil, c.end(ctx)
	case deadline.Err(actx) != nil:
		late := &httpfetch.TimeoutError{After: timeout}
		return nil, &failure{class: hung, text: late.Error(), err: late}
	}
	return nil, unanswered(err, connected)
}

// needToken reads the token, unless the token of the last attempt may be used again. After the
// server did not accept a token, it must be another one.
func (c *call) needToken() *failure {
	if c.token != nil {
		return nil
	}
	t, f := c.s.token()
	switch {
	case f != nil:
		return f
	case c.rejected != nil && t.reveal() == c.rejected.reveal():
		return c.rejection
	}
	c.token = t
	return nil
}

// unanswered returns the failure for an error of the connection.
func unanswered(err error, connected bool) *failure {
	f := &failure{class: broken, text: "request could not be sent or was not answered"}
	if f.err = httpfetch.Transport(err); f.err != nil {
		f.text = f.err.Error()
	}
	if !connected {
		f.class = away
		f.text += ": is it running?"
	}
	return f
}

// ask sends the request and reads the answer. Its error is an error of the connection.
func (c *call) ask(ctx context.Context) (*secretcache.Secret, *failure, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "sqlsecrets")
	req.Header.Set(c.s.o.Header, c.token.reveal())
	// Not an http.Client's Do: that follows redirects.
	resp, err := c.s.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxAnswer {
		return nil, &failure{status: resp.StatusCode, text: "the answer is longer than 1 MiB: it cannot be a secret"}, nil
	}
	if resp.StatusCode == http.StatusOK {
		v, ok := decode(body)
		if !ok {
			return nil, &failure{class: broken, status: resp.StatusCode, text: "answer could not be read"}, nil
		}
		v.ID = c.id
		return secretcache.NewSecret(v), nil, nil
	}
	f := classify(resp.StatusCode, body, c.token.reveal())
	if f.class == badToken {
		f.text += " (the token is from " + c.token.from + ")"
	}
	return nil, f, nil
}

// timeout returns how long an attempt may take. It returns zero if only the context ends the
// attempt, so that the error is the context's.
func (c *call) timeout(ctx context.Context) time.Duration {
	t := c.s.o.AttemptTimeout
	left, bounded := remaining(ctx)
	switch {
	case t < 0:
		return 0
	case !bounded:
		return t
	case c.attempts+1 >= c.s.o.MaxAttempts:
		return 0
	case c.attempts == 0 && left/2 < t:
		t = max(left/2, firstMin)
	}
	if t < left {
		return t
	}
	return 0
}

// remaining returns the time until ctx's deadline.
func remaining(ctx context.Context) (left time.Duration, bounded bool) {
	d, ok := ctx.Deadline()
	return time.Until(d), ok
}

// An outage is a time in which the server is not there.
type outage struct {
	mu          sync.Mutex
	since, last time.Time // zero while there is none
}

// lasts notes that the server is not there now, and returns how long it has been away.
func (o *outage) lasts(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || age(o.last, now) > outageGap {
		o.since = now
	}
	o.last = now
	return age(o.since, now)
}

// over notes that the server answered.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
}

// age returns the larger of the monotonic and the wall time between then and now, because the
// monotonic clock stands still while a Lambda function is frozen.
func age(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}
