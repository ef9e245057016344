package awscaching

// A VersionNotFoundError says that the secret exists, but no version of it has the stage. It
// wraps the source's error, which matches secretcache.ErrNoVersion. Its field Message has the
// text, as in AWS's client.
type VersionNotFoundError struct{ baseError }

// Error returns Message.
func (e *VersionNotFoundError) Error() string { return e.Message }

// An InvalidConfigError says what is wrong with a [CacheConfig]. Its field Message has the text.
type InvalidConfigError struct{ baseError }

// Error returns Message.
func (e *InvalidConfigError) Error() string { return e.Message }

// An InvalidOperationError says that the getter does not fit the value: the value is bytes and
// not text or the other way round, there is no value, or a [CacheHook] returned a wrong type.
// Its field Message has the text.
type InvalidOperationError struct{ baseError }

// Error returns Message.
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
