// Package httpfetch is what the sources that ask over HTTP have in common: what the
// exceptions of Secrets Manager mean, what of an error may be shown because an answer
// is a secret, and pauses between attempts.
package httpfetch

import (
	"net"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Kind returns the sentinel of package secretcache for an exception of Secrets
// Manager, or nil. The exceptions and their texts: API reference of GetSecretValue,
// and the service's own answers.
func Kind(exception, text string) error {
	text = strings.ToLower(text)
	switch exception {
	case "ResourceNotFoundException":
		// One exception for two conditions: "Secrets Manager can't find the specified
		// secret." and "Secrets Manager can't find the specified secret value for
		// staging label: AWSPENDING".
		if strings.Contains(text, "specified secret value") || strings.Contains(text, "staging label") {
			return secretcache.ErrNoVersion
		}
		return secretcache.ErrNotFound
	case "InvalidRequestException":
		// "You can't perform this operation on the secret because it was marked for
		// deletion.", "… that's currently marked deleted."
		if strings.Contains(text, "marked for deletion") || strings.Contains(text, "marked deleted") ||
			strings.Contains(text, "was deleted") || strings.Contains(text, "scheduled for deletion") {
			return secretcache.ErrNotFound
		}
	case "AccessDeniedException", "AccessDenied",
		// "Secrets Manager can't decrypt the protected secret text using the provided
		// KMS key": a grant or a policy is missing, or the key is disabled. (That the
		// caller lacks kms:Decrypt is AccessDeniedException "Access to KMS is not
		// allowed".)
		"DecryptionFailure":
		return secretcache.ErrAccessDenied
	}
	return nil
}

// Line makes a text of somebody else's fit for a line of a log. It copies it.
func Line(s string) string {
	const most = 600
	cut := ""
	if len(s) > most {
		s, cut = s[:most], "…"
	}
	s = strings.ToValidUTF8(s, "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.Clone(s)) + cut
}

// A TimeoutError says that an attempt took longer than it may. It is a [net.Error],
// and not context.DeadlineExceeded: the caller's context has not ended.
type TimeoutError struct{ After time.Duration }

// Error says how long that was.
func (e *TimeoutError) Error() string {
	return "no answer within " + e.After.Round(time.Millisecond).String()
}

// Timeout returns true.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary returns true.
func (e *TimeoutError) Temporary() bool { return true }

var _ net.Error = (*TimeoutError)(nil)

// Pause is the time after the nth attempt that failed: base, doubled for each
// attempt before, of at most limit, less a random part of up to half.
func Pause(base, limit time.Duration, n int) time.Duration {
	d := min(base<<min(n-1, 10), limit)
	return d - chance.UpTo(d/2)
}
