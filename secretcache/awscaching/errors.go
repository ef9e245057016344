package awscaching

// A VersionNotFoundError says that the secret exists, but no version of it bears
// the stage. It unwraps to the source's error, which is secretcache.ErrNoVersion.
type VersionNotFoundError struct{ baseError }

// Error returns the Message.
func (e *VersionNotFoundError) Error() string { return e.Message }

// An InvalidConfigError says what is wrong with a [CacheConfig].
type InvalidConfigError struct{ baseError }

// Error returns the Message.
func (e *InvalidConfigError) Error() string { return e.Message }

// An InvalidOperationError says that the value is not what was asked for: bytes
// and not text or the other way round, none at all, or not what a [CacheHook] has
// to return.
type InvalidOperationError struct{ baseError }

// Error returns the Message.
func (e *InvalidOperationError) Error() string { return e.Message }

type baseError struct {
	Message string // names the secret, never its value
	cause   error  // or nil
}

// Unwrap returns the cause.
func (e *baseError) Unwrap() error { return e.cause }

var (
	_ error = (*VersionNotFoundError)(nil)
	_ error = (*InvalidConfigError)(nil)
	_ error = (*InvalidOperationError)(nil)
)
