package driver

import (
	"context"
	"errors"
	"sync/atomic"
)

// openedSecrets are those that Options.SecretsAt returns. The first call opens them, once
// for all. If that fails, those that waited for it fail as well, and the next call tries
// again.
type openedSecrets struct{ opening atomic.Pointer[opening] }

// An opening is one call of SecretsAt. Its results are set before done is closed.
type opening struct {
	done    chan struct{}
	secrets Secrets
	err     error
}

func (s *openedSecrets) open(ctx context.Context, o *Options, loc Location) (Secrets, error) {
	if o.Secrets != nil {
		return o.Secrets, nil
	}
	call := s.opening.Load()
	for call == nil {
		call = &opening{done: make(chan struct{}), err: errors.New("options' SecretsAt panicked")}
		if s.opening.CompareAndSwap(nil, call) {
			s.run(call, o, loc)
		} else {
			call = s.opening.Load()
		}
	}
	select {
	case <-call.done:
		return call.secrets, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *openedSecrets) run(call *opening, o *Options, loc Location) {
	defer func() {
		if call.err != nil {
			s.opening.CompareAndSwap(call, nil)
		}
		close(call.done)
	}()
	call.secrets, call.err = o.SecretsAt(loc)
	if call.err == nil && call.secrets == nil {
		call.err = errors.New("options' SecretsAt returned neither secrets nor an error")
	}
}
