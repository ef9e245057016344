package engines

import (
	"cmp"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// TTLOf returns the default TTL of a location. The location must have a source.
func TTLOf(loc driver.Location) time.Duration {
	_, ttl, err := newSource(loc)
	if err != nil {
		panic(err)
	}
	return cmp.Or(ttl, secretcache.DefaultTTL)
}

// ForgetDefaults makes SetDefaults work again.
func ForgetDefaults() {
	mu.Lock()
	defer mu.Unlock()
	defaults.Defaults, defaults.used = Defaults{}, false
	clear(caches)
}
