package driver

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A candidate is a version of the secret that a Connect call may log in with.
type candidate struct {
	secret *secretcache.Secret
	stage  string // that it was read from
	id     string // tells versions apart; never empty
}

// name returns what errors call the candidate: "AWSPENDING version v2".
func (c candidate) name() string { return c.stage + " version " + c.secret.VersionID() }

// A reader reads the stages of the connector's secret, and tells trace and log.
type reader struct {
	id, stage string // of the data source name
	open      func(context.Context) (Secrets, error)
	trace     *Trace
	log       *slog.Logger
	clock     *clock.Clock
	seed      maphash.Seed

	staleDue   atomic.Int64 // when the next record of a stale secret is due, by clock
	recheckDue atomic.Int64 // the same of a failed recheck
}

const (
	staleEvery   = 10 * time.Minute // between two records of a stale secret
	recheckEvery = time.Minute      // between two records of a recheck that failed
)

// candidate returns s as a candidate of stage. A version without an id, of a Secrets of
// the caller's own, is told apart by a keyed number of its value, good in this process.
func (r *reader) candidate(s *secretcache.Secret, stage string) candidate {
	id := s.VersionID()
	if id == "" {
		id = "~" + strconv.FormatUint(maphash.String(r.seed, s.Reveal()), 36)
	}
	return candidate{s, stage, id}
}

// *secretcache.Cache has more methods than Secrets. Each is used where it is there.
type (
	// A readingSecrets tells whether what it returns is stale.
	readingSecrets interface {
		Read(ctx context.Context, id, stage string) (secretcache.Reading, error)
	}
	// A failingSecrets tells what keeps a fetch that is under way.
	failingSecrets interface {
		LastFailure(id, stage string) error
	}
	// A rechecker looks for another version than used, which failed for another reason
	// than its credentials.
	rechecker interface {
		Recheck(ctx context.Context, id, stage string, used *secretcache.Secret) (*secretcache.Secret, error)
	}
)

// get returns the version that the stage names, from the cache if that has it.
func (r *reader) get(ctx context.Context, secrets Secrets) (secretcache.Reading, error) {
	if s, ok := secrets.(readingSecrets); ok {
		return s.Read(ctx, r.id, r.stage)
	}
	s, err := secrets.Get(ctx, r.id, r.stage)
	return secretcache.Reading{Secret: s}, err
}

// done tells trace and log how a reading for a Connect call ended.
func (r *reader) done(ctx context.Context, reading secretcache.Reading, start time.Time, err error) {
	if reading.StaleCause != nil && r.due(&r.staleDue, staleEvery) {
		r.log.WarnContext(ctx, "the secret is stale: it is older than its TTL and could not be fetched again", "secret", r.id, "stage", r.stage,
			"version", reading.Secret.VersionID(), "served until", reading.StaleUntil, "error", reading.StaleCause)
	}
	if r.trace.SecretDone == nil {
		return
	}
	info := SecretInfo{SecretID: r.id, Stage: r.stage, Duration: time.Since(start), Err: err,
		StaleCause: reading.StaleCause, StaleUntil: reading.StaleUntil}
	if err == nil {
		info.Version = reading.Secret.VersionID()
	}
	r.trace.SecretDone(ctx, info)
}

// due reports whether a record is due that is written once in a while.
func (r *reader) due(next *atomic.Int64, every time.Duration) bool {
	now := int64(r.clock.Now())
	due := next.Load()
	return now >= due && next.CompareAndSwap(due, now+int64(every))
}

// refresh returns the version that a stage names now. rejected is what the server does
// not accept; with anew nothing that was fetched before will do. A panic of Secrets is
// an error.
func (r *reader) refresh(ctx context.Context, stage string, rejected candidate, anew bool) (c candidate, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in Secrets with a value of type %T", p) // its text may hold a secret
		}
	}()
	secrets, err := r.open(ctx)
	if err != nil {
		return candidate{}, err
	}
	old := rejected.secret
	if anew {
		old = nil
	}
	s, err := secrets.Refresh(ctx, r.id, stage, old)
	if err != nil {
		return candidate{}, err
	}
	return r.candidate(s, stage), nil
}

// refreshed tells trace and log what a refresh has found.
func (r *reader) refreshed(ctx context.Context, stage string, rejected, found candidate, start time.Time, err error) {
	info := RefreshInfo{SecretID: r.id, Stage: stage, Rejected: rejected.secret.VersionID(), Duration: time.Since(start), Err: err}
	if err == nil {
		info.Version = found.secret.VersionID()
	}
	r.traceRefresh(ctx, info)
	log := r.log.With("secret", r.id, "stage", stage, "rejected", info.Rejected, "duration", info.Duration)
	switch {
	case errors.Is(err, secretcache.ErrNoVersion):
		log.InfoContext(ctx, "no version of the secret has the stage")
	case err != nil:
		log.WarnContext(ctx, "the secret could not be refreshed", "error", err)
	case found.id == rejected.id:
		log.InfoContext(ctx, "the secret has no other version than the rejected one", "version", info.Version)
	default:
		log.InfoContext(ctx, "the secret has another version than the rejected one", "version", info.Version)
	}
}

// traceRefresh calls RefreshDone from a goroutine of the library, which a panic must not
// end.
func (r *reader) traceRefresh(ctx context.Context, info RefreshInfo) {
	if r.trace.RefreshDone == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.log.ErrorContext(ctx, "panic in Trace.RefreshDone", "secret", r.id, "type", fmt.Sprintf("%T", p))
		}
	}()
	r.trace.RefreshDone(ctx, info)
}

// recheck returns another version than used, which failed for another reason than its
// credentials. ok is false if there is none, or the secret was read a short time ago.
// observe is told of it, and returns whether it is news to the connector.
func (r *reader) recheck(ctx context.Context, used candidate, observe func(candidate) bool) (c candidate, ok bool) {
	secrets, err := r.open(ctx)
	if err != nil {
		return candidate{}, false
	}
	s, ok := secrets.(rechecker)
	if !ok {
		return candidate{}, false
	}
	start := time.Now()
	secret, err := s.Recheck(ctx, r.id, r.stage, used.secret)
	info := RefreshInfo{SecretID: r.id, Stage: r.stage, Duration: time.Since(start), Err: err}
	log := r.log.With("secret", r.id, "stage", r.stage, "used", used.secret.VersionID(), "duration", info.Duration)
	if err != nil {
		if r.due(&r.recheckDue, recheckEvery) {
			r.traceRefresh(ctx, info)
			log.WarnContext(ctx, "the secret could not be read again", "error", err)
		}
		return candidate{}, false
	}
	c = r.candidate(secret, r.stage)
	if c.id == used.id {
		return candidate{}, false
	}
	if observe(c) {
		info.Version = secret.VersionID()
		r.traceRefresh(ctx, info)
		log.InfoContext(ctx, "the secret has changed since it was cached", "version", info.Version)
	}
	return c, true
}

// interrupted returns the error of a call whose context ended with err while a stage was
// read. It also tells what keeps the source from answering, if that is known.
func (r *reader) interrupted(stage string, err error) error {
	what := "read " + stage
	if stage == r.stage {
		what = "look for a newer version"
	}
	if secrets, openErr := r.open(context.Background()); openErr == nil {
		if s, ok := secrets.(failingSecrets); ok {
			if last := s.LastFailure(r.id, stage); last != nil {
				return fmt.Errorf("%s: %w; the last attempt failed: %w", what, err, last)
			}
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}
