package awscaching

// Defaults of [CacheConfig].
const (
	DefaultMaxCacheSize = 1024
	DefaultCacheItemTTL = 3600000000000 // one hour, in nanoseconds
	DefaultVersionStage = "AWSCURRENT"
)

// The version constants of AWS's client 2.2.0, with the values that they have there.
const (
	VersionNumber        = "2"
	MajorRevisionNumber  = "0"
	MinorRevisionNumber  = "2"
	BugfixRevisionNumber = "0"
)

// CacheConfig has the options of a [Cache].
type CacheConfig struct {
	// MaxCacheSize is the largest number of secrets that the cache keeps. When it is full, the
	// least recently used secret is dropped. Versions with other stages than VersionStage do
	// not count: the cache keeps as many of those in addition, for all secrets together. Zero
	// or negative means DefaultMaxCacheSize (1024).
	MaxCacheSize int

	// CacheItemTTL is how long a secret is returned before it is fetched again, in
	// nanoseconds: int64(5 * time.Minute). The real time is drawn at each fetch from half of
	// CacheItemTTL to all of it. Zero means DefaultCacheItemTTL (1 h). Negative is an
	// [InvalidConfigError].
	CacheItemTTL int64

	// VersionStage is the version stage that a getter uses if it is given none. Empty means
	// DefaultVersionStage.
	VersionStage string

	// Hook changes secrets before they are stored and after they are read. Nil means no change.
	Hook CacheHook
}
