package driver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// openedSecrets are those that Options.SecretsAt returns. The first call opens them, once
// for all; if that fails, the calls that waited for it fail as well, and the next one tries
// again.
type openedSecrets struct {
	secrets atomic.Pointer[Secrets]

	mu      sync.Mutex
	opening *opening // guarded by mu; nil if none is under way
}

// An opening is one call of SecretsAt. err is set before done is closed.
type opening struct {
	done chan struct{}
	err  error
}

func (s *openedSecrets) open(ctx context.Context, o *Options, loc Location) (Secrets, error) {
	if o.Secrets != nil {
		return o.Secrets, nil
	}
	if opened := s.secrets.Load(); opened != nil {
		return *opened, nil
	}
	s.mu.Lock()
	if opened := s.secrets.Load(); opened != nil {
		s.mu.Unlock()
		return *opened, nil
	}
	call, mine := s.opening, false
	if call == nil {
		call, mine = &opening{done: make(chan struct{}), err: errors.New("panic in options' SecretsAt")}, true
		s.opening = call
	}
	s.mu.Unlock()
	if mine {
		s.call(call, o, loc)
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if call.err != nil {
		return nil, call.err
	}
	return *s.secrets.Load(), nil
}

func (s *openedSecrets) call(call *opening, o *Options, loc Location) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opening = nil
		close(call.done)
	}()
	opened, err := o.SecretsAt(loc)
	if err == nil && opened == nil {
		err = errors.New("options' SecretsAt returned neither secrets nor an error")
	}
	if err == nil {
		s.secrets.Store(&opened)
	}
	call.err = err
}
