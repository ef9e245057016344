package driver

// The messages of log records. Alerts rely on them and on their keys: a change of one is a change
// of the API. docs/observability.md says what each means.
const (
	msgRejected      = "the server rejected the credentials"
	msgTokenReplaced = "the server rejected a token that was reused; the login is sent once more with a new one"
	msgOtherVersion  = "the secret has another version than the rejected one"
	msgSameVersion   = "the secret has no other version than the rejected one"
	msgNoVersion     = "no version of the secret has the stage"
	msgNotRefreshed  = "the secret could not be refreshed"
	msgFound         = "found a version that the server accepts"
	msgFallback      = "the server accepted a fallback version"
	msgNothing       = "the server accepts no version of the secret"
	msgStale         = "the secret is stale: it is older than its TTL and could not be fetched again"
	msgChanged       = "the secret has changed since it was cached"
	msgNotRead       = "the secret could not be read again"
	msgClosed        = "closed a connection because its version of the secret is superseded"
	msgFiles         = "a file that a parameter names has changed and cannot be used; connections continue with its previous content"
	msgPlaintext     = `connections are not encrypted: the secret's "ssl" asks for TLS, and the data source name turns it off`
	msgPanic         = "panic in a func that the library calls"
)
