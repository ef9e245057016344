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
	stage  string  // the stage that named it
	id     string  // differs for different versions; never empty
	target *target // server and user of the login; nil if err is set
	err    error   // why the version cannot be used, or nil
}

// key returns the key of the candidate's entry in the gate. It is zero without a target.
func (c candidate) key() loginKey {
	if c.target == nil {
		return loginKey{}
	}
	return loginKey{c.target.address, c.id}
}

// version returns the version's id, for people. It is empty for a version without an id, and for the
// zero candidate.
func (c candidate) version() string {
	if c.secret == nil {
		return ""
	}
	return c.secret.VersionID()
}

// name returns the name of the candidate in errors: "AWSPENDING version v2".
func (c candidate) name() string { return c.stage + " version " + c.version() }

// A reader reads the stages of the connector's secret. It calls trace and log.
type reader struct {
	id, stage string // of the data source name
	secrets   *openedSecrets
	parse     func(*secretcache.Secret) (*target, error)
	trace     *Trace
	log       *slog.Logger // with the secret's id
	clock     *clock.Clock

	// When the next log record is due, by clock.
	staleDue, recheckDue atomic.Int64
}

// The least time between two log records of a stale secret, and of a failed recheck.
const staleEvery, recheckEvery = 10 * time.Minute, time.Minute

// Optional methods of Secrets. *secretcache.Cache has all of them.
type (
	staleTeller interface {
		Read(ctx context.Context, id, stage string) (secretcache.Reading, error)
	}
	failureTeller interface {
		LastFailure(id, stage string) error
	}
	rechecker interface {
		Recheck(ctx context.Context, id, stage string, used *secretcache.Secret) (*secretcache.Secret, error)
	}
)

// seed is the key of the hash that serves as id for versions without an id. It is the same for all
// connectors, because they share the verdicts on a version.
var seed = maphash.MakeSeed()

// candidate returns s as a candidate of stage. A caller's own Secrets may return versions without ids.
// Such a version gets a keyed hash of its value as its id, which is valid in this process only.
func (r *reader) candidate(s *secretcache.Secret, stage string) candidate {
	id := s.VersionID()
	if id == "" {
		id = "~" + strconv.FormatUint(maphash.String(seed, s.Reveal()), 36)
	}
	t, err := r.parse(s)
	return candidate{s, stage, id, t, err}
}

// either returns an error if a caller's own Secrets returned neither a secret nor an error.
func either(s *secretcache.Secret, err error) (*secretcache.Secret, error) {
	if s == nil && err == nil {
		err = errors.New("Options.Secrets returned neither a secret nor an error")
	}
	return s, err
}

// get returns the version that the stage names, from the cache if it is there.
func (r *reader) get(ctx context.Context) (c candidate, reading secretcache.Reading, err error) {
	secrets, err := r.secrets.open(ctx)
	if err != nil {
		return candidate{}, reading, err
	}
	if s, ok := secrets.(staleTeller); ok {
		reading, err = s.Read(ctx, r.id, r.stage)
	} else {
		reading.Secret, err = secrets.Get(ctx, r.id, r.stage)
	}
	reading.Secret, err = either(reading.Secret, err)
	if err == nil {
		c = r.candidate(reading.Secret, r.stage)
	}
	return c, reading, err
}

// got calls trace and log with the result of get.
func (r *reader) got(ctx context.Context, reading secretcache.Reading, start time.Time, err error) {
	if reading.StaleCause != nil && r.due(&r.staleDue, staleEvery) {
		r.log.WarnContext(ctx, msgStale, "stage", r.stage,
			"version", reading.Secret.VersionID(), "served_until", reading.StaleUntil, "error", reading.StaleCause)
	}
	if r.trace.SecretDone != nil {
		info := SecretInfo{SecretID: r.id, Stage: r.stage, Duration: time.Since(start), Err: err,
			StaleCause: reading.StaleCause, StaleUntil: reading.StaleUntil}
		if err == nil {
			info.Version = reading.Secret.VersionID()
		}
		r.trace.SecretDone(ctx, info)
	}
}

// due reports whether a log record that may be written once in every may be written now.
func (r *reader) due(next *atomic.Int64, every time.Duration) bool {
	now, due := int64(r.clock.Now()), next.Load()
	return now >= due && next.CompareAndSwap(due, now+int64(every))
}

// refresh calls Secrets.Refresh to find another version of a stage than rejected. If anew is true, a
// version that was fetched earlier is not enough.
func (r *reader) refresh(ctx context.Context, stage string, rejected candidate, anew bool) (candidate, error) {
	secrets, err := r.secrets.open(ctx)
	if err != nil {
		return candidate{}, err
	}
	if anew {
		rejected.secret = nil
	}
	s, err := either(secrets.Refresh(ctx, r.id, stage, rejected.secret))
	if err != nil {
		return candidate{}, err
	}
	return r.candidate(s, stage), nil
}

// refreshed calls trace and log with the result of a refresh.
func (r *reader) refreshed(ctx context.Context, stage string, rejected, found candidate, start time.Time, err error) {
	info := RefreshInfo{SecretID: r.id, Stage: stage, Rejected: rejected.version(), Version: found.version(), Duration: time.Since(start), Err: err}
	level, text, detail := slog.LevelInfo, msgOtherVersion, slog.String("version", info.Version)
	switch {
	case errors.Is(err, secretcache.ErrNoVersion):
		text, detail = msgNoVersion, slog.Attr{}
	case err != nil:
		level, text, detail = slog.LevelWarn, msgNotRefreshed, slog.Any("error", err)
	case found.id == rejected.id:
		text = msgSameVersion
	}
	r.traceRefresh(ctx, info)
	r.log.LogAttrs(ctx, level, text, slog.String("stage", stage), slog.String("rejected", info.Rejected),
		slog.Duration("duration", info.Duration), detail)
}

// traceRefresh calls RefreshDone. It may run in a goroutine of the library, so a panic of RefreshDone
// must not end the program.
func (r *reader) traceRefresh(ctx context.Context, info RefreshInfo) {
	if r.trace.RefreshDone == nil {
		return
	}
	defer r.logPanic(ctx, "Trace.RefreshDone")
	r.trace.RefreshDone(ctx, info)
}

// logPanic must be deferred. It logs only the type of a panic, because its text may hold a secret.
func (r *reader) logPanic(ctx context.Context, in string) {
	if p := recover(); p != nil {
		r.log.ErrorContext(ctx, msgPanic, "func", in, "type", fmt.Sprintf("%T", p))
	}
}

// recheck reads the secret again after a login with used has failed for another reason than its
// credentials. It reports whether another version is active now. If the stage has moved, it tells the
// resolver, and calls trace and log.
func (r *reader) recheck(ctx context.Context, used candidate, resolver *resolver) (ok bool) {
	secrets, err := r.secrets.open(ctx)
	s, can := secrets.(rechecker)
	if err != nil || !can {
		return false
	}
	start, moves := time.Now(), resolver.moves.Load()
	secret, err := either(s.Recheck(ctx, r.id, r.stage, used.secret))
	info := RefreshInfo{SecretID: r.id, Stage: r.stage, Duration: time.Since(start), Err: err}
	if err != nil {
		if r.due(&r.recheckDue, recheckEvery) {
			r.traceRefresh(ctx, info)
			r.log.WarnContext(ctx, msgNotRead, "stage", r.stage, "used", used.version(), "error", err)
		}
		return false
	}
	c := r.candidate(secret, r.stage)
	if moved, _ := resolver.observe(moves, c); moved {
		info.Version = c.version()
		r.traceRefresh(ctx, info)
		r.log.InfoContext(ctx, msgChanged, "stage", r.stage, "used", used.version(), "version", info.Version)
	}
	active, _ := resolver.use()
	return active.id != used.id
}

// interrupted returns the attempt of a reading that a call stopped waiting for. If it is known why the
// source does not answer, the attempt says so.
func (r *reader) interrupted(stage string, err error) attempt {
	a := attempt{text: "read " + stage, err: err}
	if stage == r.stage {
		a.text = "refresh the secret"
	}
	secrets, openErr := r.secrets.open(context.Background())
	s, ok := secrets.(failureTeller)
	if openErr != nil || !ok {
		return a
	}
	if last := s.LastFailure(r.id, stage); last != nil {
		a.err = fmt.Errorf("%w; the last attempt failed: %w", err, last)
	}
	return a
}
