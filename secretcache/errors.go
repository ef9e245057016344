package secretcache

import "errors"

// Conditions that a [Source] reports and callers match with [errors.Is]. A
// source wraps them together with its own error.
var (
	// ErrNotFound says that the source has no secret of that id.
	ErrNotFound = errors.New("secret not found")
	// ErrNoVersion says that the secret exists, but no version of it bears the stage.
	ErrNoVersion = errors.New("secret has no version with this stage")
	// ErrAccessDenied says that the caller may not read the secret, or not decrypt it.
	ErrAccessDenied = errors.New("access to the secret denied")
	// ErrThrottled says that the source refused the call for its rate.
	ErrThrottled = errors.New("too many requests for secrets")
	// ErrClosed is returned by every method of a [Cache] after [Cache.Close].
	ErrClosed = errors.New("secret cache is closed")
)
