package httpfetch_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

func TestKindTellsTheMeaningsOfAnExceptionApart(t *testing.T) {
	for _, tt := range []struct {
		exception, text string
		want            error
	}{
		{"ResourceNotFoundException", "Secrets Manager can't find the specified secret.", secretcache.ErrNotFound},
		{"ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSPENDING", secretcache.ErrNoVersion},
		{"ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: v", secretcache.ErrNoVersion},
		{"ResourceNotFoundException", "", secretcache.ErrNotFound},
		{"InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.", secretcache.ErrNotFound},
		{"InvalidRequestException", "You tried to perform the operation on a secret that's currently marked deleted.", secretcache.ErrNotFound},
		{"InvalidRequestException", "You can't perform this operation on the secret because it was deleted.", secretcache.ErrNotFound},
		{"InvalidRequestException", "The secret is scheduled for deletion.", secretcache.ErrNotFound},
		{"InvalidRequestException", "no", nil},
		{"AccessDeniedException", "Access to KMS is not allowed", secretcache.ErrAccessDenied},
		{"AccessDenied", "", secretcache.ErrAccessDenied},
		{"DecryptionFailure", "", secretcache.ErrAccessDenied},
		{"InvalidParameterException", "no", nil},
		{"", "", nil},
	} {
		if got := httpfetch.Kind(tt.exception, tt.text); got != tt.want {
			t.Errorf("Kind(%q, %q) = %v, want %v", tt.exception, tt.text, got, tt.want)
		}
	}
}
