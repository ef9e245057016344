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

// redacted stands where a value would.
const redacted = "[redacted]"

// A Value is what a [Source] knows of one version of a secret; [NewSecret]
// makes a [Secret] of it. Its printed forms (fmt, JSON, XML, gob, slog) show ids,
// and never String or Binary; but fmt calls no methods inside an unexported field
// and for %p and a misused %w, so keep no Value. A Secret is safe everywhere.
type Value struct {
	ID        string    // as it was asked for
	ARN       string    // the full ARN; empty where the source has none
	Name      string    // the friendly name; empty where the source has none
	VersionID string    // changes whenever the value does; empty where the source has none
	Stages    []string  // the version stages that this version bears
	CreatedAt time.Time // of this version; zero where unknown
	String    string    // the value, or
	Binary    []byte    // the value of a binary secret: not nil makes it one
}

// A Secret is one version of a secret. It is immutable and may be shared. Every
// printed form of it (fmt, JSON, XML, slog) shows its ids and stages only; the
// value comes out at [Secret.Reveal] and [Secret.Bytes]. An id that is neither a name nor
// an ARN, as other sources may have, is not shown: it may be a database's URL by mistake.
type Secret struct {
	id, arn, name, versionID string
	stages                   []string
	createdAt                int64 // in nanoseconds of Unix time; 0 = unknown
	// value is a func because fmt prints a string field of any type, also one
	// that is not exported, but of a func only the address.
	value func() (s string, binary []byte, held any)
	// origin is nil for a secret that no Cache has seen. Copies share it.
	origin *origin
}

// NewSecret returns the secret that v describes. It keeps no reference to v's slices.
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

// ID is the id that the secret was asked for with.
func (s *Secret) ID() string { return s.id }

// ARN is the secret's full ARN, or empty where the source has none.
func (s *Secret) ARN() string { return s.arn }

// Name is the secret's friendly name, or empty where the source has none.
func (s *Secret) Name() string { return s.name }

// VersionID tells this version from the secret's others. A [Cache] gives a
// secret whose source has no version ids one of its own, good in this process.
func (s *Secret) VersionID() string { return s.versionID }

// Stages returns a copy of the version stages that the version bore when it was
// fetched.
func (s *Secret) Stages() []string { return slices.Clone(s.stages) }

// CreatedAt is when the version was created; zero where the source does not know.
func (s *Secret) CreatedAt() time.Time {
	if s.createdAt == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.createdAt).UTC()
}

// IsBinary reports whether the value was stored as bytes rather than as text.
func (s *Secret) IsBinary() bool {
	_, b, _ := s.reveal()
	return b != nil
}

// Reveal returns the value as a string, also that of a binary secret.
func (s *Secret) Reveal() string {
	v, b, _ := s.reveal()
	return v + string(b) // one of them is empty
}

// Bytes returns a copy of the value as bytes, also that of a text secret.
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

// WithString returns the same version with another value. A [Hook] uses it.
func (s *Secret) WithString(v string) *Secret {
	return s.with(func() (string, []byte, any) { return v, nil, nil })
}

// WithBinary returns the same version with another value, of which it keeps a
// copy. A [Hook] uses it.
func (s *Secret) WithBinary(v []byte) *Secret {
	v = append([]byte{}, v...)
	return s.with(func() (string, []byte, any) { return "", v, nil })
}

// WithHeld returns the same version with held in place of its value, which is then
// empty. A [Hook] that stores neither text nor bytes uses it, and finds held again
// with [Secret.Held]. Nothing prints it.
func (s *Secret) WithHeld(held any) *Secret {
	return s.with(func() (string, []byte, any) { return "", nil, held })
}

func (s *Secret) with(value func() (string, []byte, any)) *Secret {
	c := *s
	c.value = value
	return &c
}

// Held returns what WithHeld was given, nil without.
func (s *Secret) Held() any {
	_, _, held := s.reveal()
	return held
}

// sameAs reports whether t is the same version of the same secret with the same
// stages, so that one object can stand for both.
func (s *Secret) sameAs(t *Secret) bool {
	return s.versionID == t.versionID && s.arn == t.arn && s.name == t.name &&
		s.createdAt == t.createdAt && slices.Equal(s.stages, t.stages)
}

// shown returns an id, or nothing if it is neither a name nor an ARN: it may hold a password.
func shown(id string) string {
	if secretid.Check(id) != nil {
		return ""
	}
	return id
}

// String returns the id and the version, never the value.
func (s Secret) String() string {
	return "secret " + secretid.Quote(s.id) + " version " + strconv.Quote(s.versionID) + " " + redacted
}

// Format writes what String returns, whatever the verb.
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

// LogValue returns the id and the version, never the value.
func (s Secret) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", shown(s.id)), slog.String("version", s.versionID))
}

// Format writes v's id and version, never its value, whatever the verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.describe()) }

// MarshalJSON returns what NewSecret(v) marshals to: never the value.
func (v Value) MarshalJSON() ([]byte, error) { return NewSecret(v).MarshalJSON() }

// MarshalText returns what Format writes. XML, YAML and map keys use it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.describe()), nil }

// GobEncode returns what Format writes: a Value is not to be stored.
func (v Value) GobEncode() ([]byte, error) { return v.MarshalText() }

// LogValue returns the id and the version, never the value.
func (v Value) LogValue() slog.Value { return NewSecret(v).LogValue() }

func (v Value) describe() string {
	return strings.Replace(NewSecret(v).String(), "secret ", "secret value of ", 1)
}

// A printer has all the methods by which other packages print a value.
type printer interface {
	fmt.Formatter
	json.Marshaler
	encoding.TextMarshaler
	slog.LogValuer
}

var _, _ printer = Secret{}, Value{}
