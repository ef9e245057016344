// Package httpfetch has what the sources that ask over HTTP share: what the exceptions of
// Secrets Manager mean, which parts of an error may be shown (an answer is a secret), and the
// pauses between attempts.
package httpfetch

import (
	"net"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Kind returns the sentinel of package secretcache for an exception of Secrets Manager, or
// nil. The exceptions and their texts are from the API reference of GetSecretValue and from
// answers of the service.
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

// Line returns a copy of a foreign text as one valid line of at most 600 bytes, for a log.
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

// A TimeoutError says that an attempt took longer than allowed. It is a [net.Error]. It is not
// context.DeadlineExceeded, because the caller's context has not ended.
type TimeoutError struct{ After time.Duration }

// Error returns "no answer within" and the time.
func (e *TimeoutError) Error() string {
	return "no answer within " + e.After.Round(time.Millisecond).String()
}

// Timeout returns true.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary returns true.
func (e *TimeoutError) Temporary() bool { return true }

var _ net.Error = (*TimeoutError)(nil)

// Pause returns the time to wait after the nth attempt that failed. It is base, doubled for
// each earlier attempt, at most limit, less a random part of up to half.
func Pause(base, limit time.Duration, n int) time.Duration {
	d := min(base<<min(n-1, 10), limit)
	return d - chance.UpTo(d/2)
}
