package secretcache

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
)

// redacted is printed in place of a value.
const redacted = "[redacted]"

// A Value is what a [Source] knows about one version of a secret. [NewSecret] makes a
// [Secret] of it. Only implementations of Source need it.
//
// Printed forms of a Value (fmt, JSON, XML, gob, slog) show ids, and never String or Binary.
// But fmt calls no methods for a Value in an unexported field, for %p, or for a misused %w, and
// then prints everything. So do not keep a Value. A Secret is safe everywhere.
type Value struct {
	ID        string    // as the caller asked for it
	ARN       string    // the full ARN; empty if the source has none
	Name      string    // the friendly name; empty if the source has none
	VersionID string    // changes whenever the value changes; empty if the source has none: the cache then makes one
	Stages    []string  // the version stages that are on this version
	CreatedAt time.Time // when this version was created; zero if unknown
	String    string    // the value of a text secret, which may be empty
	Binary    []byte    // the value of a binary secret; if not nil, String is not used
}

// A Secret is one version of a secret. It is immutable and may be shared. Every printed
// form of it (fmt, JSON, XML, slog) shows only ids and stages. [Secret.Reveal] and
// [Secret.Bytes] return the value. An id that is neither a name nor an ARN is not printed: it
// may be a database's URL by mistake.
type Secret struct {
	id, arn, name, versionID string
	stages                   []string
	createdAt                int64 // in nanoseconds of Unix time; 0 = unknown
	// value is a func because fmt prints every string field, exported or not, but of a
	// func only the address.
	value func() (s string, binary []byte, held any)
	// origin is nil for a secret that did not come from a Cache. Copies share it.
	origin *origin
}

// NewSecret returns the secret that v describes. It copies v's slices.
func NewSecret(v Value) *Secret {
	s := Secret{id: v.ID, arn: v.ARN, name: v.Name, versionID: v.VersionID}
	if !v.CreatedAt.IsZero() {
		s.createdAt = v.CreatedAt.UnixNano()
	}
	s.stages = slices.Clone(v.Stages)
	if v.Binary != nil {
		return s.WithBinary(v.Binary)
	}
	return s.WithString(v.String)
}

// ID returns the id that the caller asked with.
func (s *Secret) ID() string { return s.id }

// ARN returns the secret's full ARN, or "" if the source has none.
func (s *Secret) ARN() string { return s.arn }

// Name returns the secret's friendly name, or "" if the source has none.
func (s *Secret) Name() string { return s.name }

// VersionID returns the id of this version; the secret's other versions have other ids. If the
// source has no version ids, the [Cache] makes one that is valid in this process only.
func (s *Secret) VersionID() string { return s.versionID }

// Stages returns a copy of the version stages that were on this version when it was fetched.
func (s *Secret) Stages() []string { return slices.Clone(s.stages) }

// CreatedAt returns when the version was created, or the zero time if the source does not
// know.
func (s *Secret) CreatedAt() time.Time {
	if s.createdAt == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.createdAt).UTC()
}

// IsBinary reports whether the value is stored as bytes, not as text.
func (s *Secret) IsBinary() bool {
	_, b, _ := s.reveal()
	return b != nil
}

// Reveal returns the value as a string. It works for a binary secret as well.
func (s *Secret) Reveal() string {
	v, b, _ := s.reveal()
	return v + string(b) // one of them is empty
}

// Bytes returns a copy of the value as bytes. It works for a text secret as well.
func (s *Secret) Bytes() []byte {
	v, b, _ := s.reveal()
	return append([]byte(v), b...) // one of them is empty
}

func (s *Secret) reveal() (string, []byte, any) {
	if s.value == nil {
		return "", nil, nil
	}
	return s.value()
}

// WithString returns a copy of s with v as its text value. It is for a [Hook].
func (s *Secret) WithString(v string) *Secret {
	return s.with(func() (string, []byte, any) { return v, nil, nil })
}

// WithBinary returns a copy of s with a copy of v as its binary value. It is for a [Hook].
func (s *Secret) WithBinary(v []byte) *Secret {
	v = append([]byte{}, v...)
	return s.with(func() (string, []byte, any) { return "", v, nil })
}

// WithHeld returns a copy of s that has held in place of its value; its value is then
// empty. It is for a [Hook] that stores neither text nor bytes. [Secret.Held] returns held
// again. No printed form shows it.
func (s *Secret) WithHeld(held any) *Secret {
	return s.with(func() (string, []byte, any) { return "", nil, held })
}

func (s *Secret) with(value func() (string, []byte, any)) *Secret {
	c := *s
	c.value = value
	return &c
}

// Held returns the argument of WithHeld, or nil if s was not made by WithHeld.
func (s *Secret) Held() any {
	_, _, held := s.reveal()
	return held
}

// sameAs reports whether t is the same version of the same secret with the same stages.
// One object can then be used for both.
func (s *Secret) sameAs(t *Secret) bool {
	return s.versionID == t.versionID && s.arn == t.arn && s.name == t.name &&
		s.createdAt == t.createdAt && slices.Equal(s.stages, t.stages)
}

// shown returns id, or "" if id is neither a name nor an ARN, because it may hold a password.
func shown(id string) string {
	if secretid.Check(id) != nil {
		return ""
	}
	return id
}

// String returns the id and the version id, never the value.
func (s Secret) String() string {
	return "secret " + secretid.Quote(s.id) + " version " + strconv.Quote(s.versionID) + " " + redacted
}

// Format writes what String returns, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON returns the ids and the stages, never the value.
func (s Secret) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        string   `json:"id"`
		ARN       string   `json:"arn,omitempty"`
		VersionID string   `json:"versionId,omitempty"`
		Stages    []string `json:"stages,omitempty"`
		Value     string   `json:"value"`
	}{shown(s.id), s.arn, s.versionID, s.stages, redacted})
}

// MarshalText returns what String returns. XML, YAML and map keys use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the id and the version id, never the value.
func (s Secret) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", shown(s.id)), slog.String("version", s.versionID))
}

// Format writes v's id and version id, never its value, for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.describe()) }

// MarshalJSON returns the JSON of NewSecret(v), which never has the value.
func (v Value) MarshalJSON() ([]byte, error) { return NewSecret(v).MarshalJSON() }

// MarshalText returns what Format writes. XML, YAML and map keys use it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.describe()), nil }

// GobEncode returns what Format writes, because a Value must not be stored.
func (v Value) GobEncode() ([]byte, error) { return v.MarshalText() }

// LogValue returns the id and the version id, never the value.
func (v Value) LogValue() slog.Value { return NewSecret(v).LogValue() }

func (v Value) describe() string {
	return strings.Replace(NewSecret(v).String(), "secret ", "secret value of ", 1)
}

// A printer has all methods that other packages use to print a value.
type printer interface {
	fmt.Formatter
	json.Marshaler
	encoding.TextMarshaler
	slog.LogValuer
}

var _, _ printer = Secret{}, Value{}
