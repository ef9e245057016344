package agenttest

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A Fault answers a request for a secret in place of the server. If it returns false, the
// server answers. The request's context ends when the client closes the connection, at Heal, and
// when the server stops.
type Fault func(w http.ResponseWriter, r *http.Request) (answered bool)

// Fail makes requests fail until Heal. If there are several faults, the one that was added last
// is asked first.
func (s *Server) Fail(f Fault) { s.FailTimes(0, f) }

// FailTimes makes the next n requests fail. Zero or negative means until Heal.
func (s *Server) FailTimes(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{f, n})
}

// Heal ends all faults, and the requests that hang.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.heal()
	s.healed, s.heal = context.WithCancel(context.Background())
}

type fault struct {
	Fault
	left int // how many more requests it applies to; 0 means all
}

// failed lets the faults answer a request, and reports whether one of them did.
func (s *Server) failed(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	healed := s.healed
	var faults []Fault
	keep := s.faults[:0:0]
	for _, f := range s.faults {
		faults = append(faults, f.Fault)
		if f.left != 1 {
			keep = append(keep, &fault{f.Fault, max(0, f.left-1)})
		}
	}
	s.faults = keep
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(healed, cancel)()
	for i := len(faults) - 1; i >= 0; i-- {
		if faults[i](w, r.WithContext(ctx)) {
			return true
		}
	}
	return false
}

// Hang does not answer. It closes the connection at Heal, or when the server stops.
func Hang(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// CloseConn closes the connection without an answer.
func CloseConn(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// Truncate closes the connection in the middle of an answer.
func Truncate(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Length", "1000")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// NotReady gives the answer of the extension before the first invocation of its function.
var NotReady = Answer(http.StatusBadRequest, notReadyText)

// Delay waits before the answer. Heal ends the wait.
func Delay(d time.Duration) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
		return false
	}
}

// Answer answers with the given status and body.
func Answer(status int, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header()["Content-Type"] = nil
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// Exception answers as the agent does when the service returns an error.
func Exception(status int, name, message string) Fault {
	return Answer(status, exceptionBody(name, message, true))
}

// Redirect answers with a redirect.
func Redirect(to string) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to, http.StatusFound)
		return true
	}
}
