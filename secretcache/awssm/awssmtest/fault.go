package awssmtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Fault makes requests fail in some way. It applies to all requests, unless its methods
// limit it. The methods return a changed copy; see the example of [Server.Fail].
type Fault struct {
	kind               faultKind
	delay              time.Duration
	status             int
	code, message      string
	body               string
	op, secret, region string
	stage              string
	times              int
}

type faultKind int

const (
	faultNone faultKind = iota
	faultDelay
	faultHang
	faultClose
	faultTruncate
	faultError
	faultAnswer
)

// Faults without a parameter.
var (
	// Throttle answers ThrottlingException, status 400.
	Throttle = Error(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
	// ServerError answers InternalServiceError, status 500.
	ServerError = Error(http.StatusInternalServerError, "InternalServiceError", "An error occurred on the server side.")
	// Unavailable answers ServiceUnavailable, status 503.
	Unavailable = Error(http.StatusServiceUnavailable, "ServiceUnavailable", "The service is unavailable. Please try again shortly.")
	// Denied answers AccessDeniedException, status 400, with the service's text for
	// an action that no policy allows.
	Denied = Error(http.StatusBadRequest, "AccessDeniedException", "")
	// DeniedKMS answers AccessDeniedException as for a missing kms:Decrypt.
	DeniedKMS = Error(http.StatusBadRequest, "AccessDeniedException", "Access to KMS is not allowed")
	// Hang does not answer. The request ends when the client closes the connection. Heal and Close
	// close the connection as well.
	Hang = Fault{kind: faultHang}
	// CloseConn closes the connection without an answer.
	CloseConn = Fault{kind: faultClose}
	// Truncate does the operation, and closes the connection in the middle of the answer.
	Truncate = Fault{kind: faultTruncate}
)

// Error answers with an error of the service. code is the name of an exception, such as
// "DecryptionFailure", and text its message.
func Error(status int, code, text string) Fault {
	return Fault{kind: faultError, status: status, code: code, message: text}
}

// Answer answers with the given status and body in place of the service's answer.
func Answer(status int, body string) Fault {
	return Fault{kind: faultAnswer, status: status, body: body}
}

// Delay waits before the answer, or before another fault that applies. Heal ends the wait, and
// the request goes on. Close ends it, and closes the connection.
func Delay(d time.Duration) Fault { return Fault{kind: faultDelay, delay: d} }

// Op limits the fault to an operation, such as "GetSecretValue".
func (f Fault) Op(op string) Fault { f.op = op; return f }

// Secret limits the fault to a secret, by name or ARN. In a BatchGetSecretValue, an Error then
// applies only to that secret, even if Op is GetSecretValue.
func (f Fault) Secret(id string) Fault { f.secret = id; return f }

// Region limits the fault to requests that are signed for a region.
func (f Fault) Region(region string) Fault { f.region = region; return f }

// Stage limits the fault to GetSecretValue for a version stage.
func (f Fault) Stage(stage string) Fault { f.stage = stage; return f }

// Times limits the fault to the next n requests to which it applies. Zero or negative means
// no limit: the fault applies until Heal.
func (f Fault) Times(n int) Fault { f.times = n; return f }

// String returns what the fault does, and to which requests it applies.
func (f Fault) String() string {
	var b strings.Builder
	switch f.kind {
	case faultNone:
		b.WriteString("no fault")
	case faultDelay:
		fmt.Fprintf(&b, "delay of %s", f.delay)
	case faultHang:
		b.WriteString("hang")
	case faultClose:
		b.WriteString("closed connection")
	case faultTruncate:
		b.WriteString("truncated answer")
	case faultError:
		fmt.Fprintf(&b, "error %d %s", f.status, f.code)
	case faultAnswer:
		fmt.Fprintf(&b, "answer with status %d", f.status)
	}
	for _, p := range [][2]string{{"op", f.op}, {"secret", f.secret}, {"region", f.region}, {"stage", f.stage}} {
		if p[1] != "" {
			fmt.Fprintf(&b, ", %s %s", p[0], p[1])
		}
	}
	if f.times > 0 {
		fmt.Fprintf(&b, ", %d times", f.times)
	}
	return b.String()
}

// Format writes what String returns, for every verb, because the body of an Answer may be a
// secret.
func (f Fault) Format(st fmt.State, _ rune) { fmt.Fprint(st, f.String()) }

type fault struct {
	Fault
	left int // how many more requests it applies to; used if times is positive
}

// Fail makes requests fail until Heal. If several faults apply to a request, the one that was
// added last is used. A Delay is used in addition to it.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{Fault: f, left: f.times})
}

// Heal ends all faults. It closes the connections of requests that hang. Delayed requests go
// on.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	close(s.healed)
	s.healed = make(chan struct{})
}

// applies reports whether a fault applies to a request as a whole.
func (s *Server) applies(f *fault, r *Request) bool {
	if f.region != "" && f.region != r.Region || f.stage != "" && f.stage != r.Stage {
		return false
	}
	if r.Op == opBatch && f.secret != "" && f.kind == faultError {
		return false // see secretFault
	}
	if f.op != "" && f.op != r.Op && !(f.secret != "" && f.op == opGet && r.Op == opBatch) {
		return false
	}
	return f.secret == "" || slices.ContainsFunc(r.SecretIDs, func(id string) bool { return s.same(r.Region, id, f.secret) })
}

// same reports whether two ids name one secret.
func (s *Server) same(region, id, other string) bool {
	if id == other {
		return true
	}
	a, err := s.find(region, id)
	if err != nil {
		return false
	}
	b, err := s.find("", other)
	return err == nil && a.name == b.name && a.suffix == b.suffix && a.account == b.account
}

// next returns the faults that apply to a request: the sum of its delays, and one other fault or
// none.
func (s *Server) next(r *Request) (delay time.Duration, f Fault, healed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(slices.Clone(s.faults)) {
		if f.kind != faultNone || !s.applies(c, r) {
			continue
		}
		if c.kind == faultDelay {
			delay += c.delay
		} else {
			f = c.Fault
		}
		s.use(c)
	}
	return delay, f, s.healed
}

func (s *Server) use(c *fault) {
	if c.left > 0 {
		if c.left--; c.left == 0 {
			s.faults = slices.DeleteFunc(s.faults, func(d *fault) bool { return d == c })
		}
	}
}

// secretFault returns the error that a fault causes for one secret of a BatchGetSecretValue,
// or nil. The caller holds mu.
func (s *Server) secretFault(region, id string) *apiError {
	for _, c := range slices.Backward(s.faults) {
		if c.kind == faultError && c.secret != "" && (c.op == "" || c.op == opGet || c.op == opBatch) &&
			(c.region == "" || c.region == region) && (c.stage == "" || c.stage == current) && s.same(region, id, c.secret) {
			s.use(c)
			return c.apiError(opGet, id)
		}
	}
	return nil
}

func (f Fault) apiError(op, id string) *apiError {
	e := &apiError{status: f.status, code: f.code, text: f.message}
	if e.code == "AccessDeniedException" && e.text == "" {
		e.text = "User: arn:aws:sts::" + Account + ":assumed-role/app/session is not authorized to perform: secretsmanager:" + op
		if id != "" {
			e.text += " on resource: " + id
		}
		e.text += " because no identity-based policy allows the secretsmanager:" + op + " action"
	}
	return e
}

// wait waits for d, or until Heal. If d is negative, it waits until Heal. It returns false if the
// client or the server closed the connection first.
func (s *Server) wait(r *http.Request, d time.Duration, healed <-chan struct{}) bool {
	s.hang(1)
	defer s.hang(-1)
	var after <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
		return true
	case <-healed:
		return true
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
	return false
}
