package awscaching

// Defaults of [CacheConfig].
const (
	DefaultMaxCacheSize = 1024
	DefaultCacheItemTTL = 3600000000000 // one hour, in nanoseconds
	DefaultVersionStage = "AWSCURRENT"
)

// The version of AWS's client whose API this is, 2.2.0, in that client's form.
const (
	VersionNumber        = "2"
	MajorRevisionNumber  = "0"
	MinorRevisionNumber  = "2"
	BugfixRevisionNumber = "0"
)

// CacheConfig is what a program configures of a [Cache].
type CacheConfig struct {
	// MaxCacheSize is how many secrets are kept; the least recently used goes first.
	// Stages other than VersionStage do not count: there is room for as many
	// versions of those again, of all secrets together. Zero or negative means
	// DefaultMaxCacheSize (1024).
	MaxCacheSize int

	// CacheItemTTL is how long a secret is returned before it is fetched again, in
	// nanoseconds: int64(5 * time.Minute). The real age is drawn from half of it to
	// all of it. Zero means DefaultCacheItemTTL (1 h); negative is an
	// [InvalidConfigError].
	CacheItemTTL int64

	// VersionStage is the version stage of every getter that is given none. Empty
	// means DefaultVersionStage.
	VersionStage string

	// Hook sees secrets before they are stored and after they are read. Nil: none.
	Hook CacheHook
}
