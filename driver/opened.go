package driver

import (
	"context"
	"errors"
	"sync/atomic"
)

// openedSecrets are those that Options.SecretsAt returns. The first call opens them, once
// for all. If that fails, those that waited for it fail as well, and the next call tries
// again.
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
		call = &opening{done: make(chan struct{}), err: errors.New("options' SecretsAt panicked")}
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
		call.err = errors.New("options' SecretsAt returned neither secrets nor an error")
	}
}
