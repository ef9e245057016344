package driver

import (
	"context"
	"errors"
	"sync/atomic"
)

// openedSecrets keeps the result of Options.SecretsAt. The first call of open calls SecretsAt. Calls
// that come meanwhile wait for the same result. If SecretsAt fails, all of them fail, and the next
// call of open calls it again.
type openedSecrets struct {
	options *Options
	source  *dataSource
	opening atomic.Pointer[opening]
}

// An opening is one call of SecretsAt. Its results are set before done is closed.
type opening struct {
	done    chan struct{}
	secrets Secrets
	err     error
}

func (s *openedSecrets) open(ctx context.Context) (Secrets, error) {
	if s.options.Secrets != nil {
		return s.options.Secrets, nil
	}
	call := s.opening.Load()
	for call == nil {
		call = &opening{done: make(chan struct{}), err: errors.New("Options.SecretsAt panicked")}
		if s.opening.CompareAndSwap(nil, call) {
			s.run(call)
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

func (s *openedSecrets) run(call *opening) {
	defer func() {
		if call.err != nil {
			s.opening.CompareAndSwap(call, nil)
		}
		close(call.done)
	}()
	call.secrets, call.err = s.options.SecretsAt(s.source.location)
	if call.err == nil && call.secrets == nil {
		call.err = errors.New("Options.SecretsAt returned neither secrets nor an error")
	}
}
