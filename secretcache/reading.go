package secretcache

import "time"

// Reading is temporary.
type Reading struct {
	Secret     *Secret
	StaleCause error
	StaleUntil time.Time
}
