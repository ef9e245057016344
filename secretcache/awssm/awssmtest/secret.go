package awssmtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
	pending  = "AWSPENDING"

	// Quotas: "AWS Secrets Manager quotas" in the user guide.
	maxValue    = 65536
	maxStages   = 20
	maxVersions = 100
)

// A value is a func because fmt would print a string field.
type value func() (text string, binary []byte)

func text(s string) value { return func() (string, []byte) { return s, nil } }

func binary(b []byte) value {
	b = append([]byte{}, b...)
	return func() (string, []byte) { return "", b }
}

func (v value) len() int {
	s, b := v()
	return len(s) + len(b)
}

func (v value) equal(w value) bool {
	s, b := v()
	t, c := w()
	return s == t && bytes.Equal(b, c) && (b == nil) == (c == nil)
}

// A version is a version of a secret. value is nil if it has no value yet.
type version struct {
	id       string
	created  time.Time
	accessed time.Time
	stages   []string // sorted
	value    value
}

// A secret is guarded by Server.mu.
type secret struct {
	partition, region, account string
	name, suffix               string
	description                string
	created, changed           time.Time
	accessed, rotated          time.Time
	deleted, deleteAt          time.Time     // zero unless it is marked
	rotation                   bool          // it is on
	scheduled                  time.Time     // when RotateSecret was called; zero if it never was
	rotating                   chan struct{} // closed when the last call of the rotation function ends; nil before the first
	tags                       []tag
	kmsKey                     string // empty is the account's default key
	replicas                   []replica
	lambda                     string
	rules                      map[string]any
	versions                   []*version // oldest first
	createToken                string
}

func (s *secret) arn(region string) string {
	return arn.ARN{
		Partition: s.partition, Service: "secretsmanager", Region: region, AccountID: s.account,
		Resource: "secret:" + s.name + "-" + s.suffix,
	}.String()
}

func (s *secret) clone() *secret {
	c := *s
	c.versions = nil
	for _, v := range s.versions {
		w := *v
		w.stages = slices.Clone(v.stages)
		c.versions = append(c.versions, &w)
	}
	return &c
}

func (s *secret) version(id string) *version {
	for _, v := range s.versions {
		if v.id == id {
			return v
		}
	}
	return nil
}

// holder returns the version that has a stage, or nil.
func (s *secret) holder(stage string) *version {
	for _, v := range s.versions {
		if slices.Contains(v.stages, stage) {
			return v
		}
	}
	return nil
}

// put stores a value as a version, and moves stages to it. The version is new, or has no value
// yet. A nil value makes a version without a value.
func (s *secret) put(id string, val value, stages []string) error {
	if val != nil && val.len() > maxValue {
		return fmt.Errorf("the value has %d bytes, and at most %d are allowed", val.len(), maxValue)
	}
	if s.marked() {
		return errors.New("the secret is marked for deletion")
	}
	v := s.version(id)
	if v != nil && v.value != nil {
		return fmt.Errorf("version %q already has a value", id)
	}
	all := map[string]bool{}
	for _, stage := range stages {
		all[stage] = true
	}
	for _, w := range s.versions {
		for _, stage := range w.stages {
			all[stage] = true
		}
	}
	if len(all) > maxStages {
		return errTooManyStages
	}
	if v == nil {
		v = &version{id: id, created: time.Now()}
		s.versions = append(s.versions, v)
	}
	v.value = val
	s.changed = time.Now()
	for _, stage := range stages {
		_ = s.move(stage, v) // counted above
	}
	s.drop()
	return nil
}

var errTooManyStages = fmt.Errorf("a secret has at most %d version stages", maxStages)

// move moves a stage to a version. If to is nil, it removes the stage. The version that loses
// AWSCURRENT gets AWSPREVIOUS, and loses AWSPENDING if it has that too.
func (s *secret) move(stage string, to *version) error {
	from := s.holder(stage)
	if from == to {
		return nil
	}
	if from == nil {
		n := 0
		for _, v := range s.versions {
			n += len(v.stages)
		}
		if n >= maxStages {
			return errTooManyStages
		}
	}
	from.remove(stage)
	to.add(stage)
	if stage == current && from != nil && to != nil {
		from.remove(pending)
		s.holder(previous).remove(previous)
		from.add(previous)
	}
	s.changed = time.Now()
	s.drop()
	return nil
}

// drop forgets the oldest versions without a stage when there are too many.
func (s *secret) drop() {
	for i := 0; i < len(s.versions) && len(s.versions) > maxVersions; {
		if len(s.versions[i].stages) == 0 {
			s.versions = slices.Delete(s.versions, i, i+1)
		} else {
			i++
		}
	}
}

func (s *secret) marked() bool { return !s.deleteAt.IsZero() }

func (v *version) remove(stage string) {
	if v != nil {
		v.stages = slices.DeleteFunc(v.stages, func(s string) bool { return s == stage })
	}
}

func (v *version) add(stage string) {
	if v != nil && !slices.Contains(v.stages, stage) {
		v.stages = append(v.stages, stage)
		slices.Sort(v.stages)
	}
}

// stageMap returns VersionIdsToStages. Versions without a stage are not in it.
func (s *secret) stageMap() map[string][]string {
	m := map[string][]string{}
	for _, v := range s.versions {
		if len(v.stages) > 0 {
			m[v.id] = slices.Clone(v.stages)
		}
	}
	return m
}

var errNotFound = errors.New("not found")

// find returns the secret of an id as a request for region sees it. An empty region is for
// calls of the server's methods, which see the secrets of all regions. A secret of the region
// comes before replicas.
func (s *Server) find(region, id string) (*secret, error) {
	all := s.secrets
	if frozen, ok := s.frozen[region]; ok {
		all = frozen
	}
	a, err := arn.Parse(id)
	if err != nil {
		if region == "" {
			region = Region
		}
		return pick(all[id], region, func(*secret) bool { return true })
	}
	if region != "" && a.Region != region {
		return nil, errNotFound
	}
	rest, ok := strings.CutPrefix(a.Resource, "secret:")
	if !ok {
		return nil, errNotFound
	}
	// Try full ARNs first: a name may end like a full ARN.
	if name, suffix, ok := cutSuffix(rest); ok {
		sec, err := pick(all[name], a.Region, func(sec *secret) bool {
			return sec.suffix == suffix && sec.account == a.AccountID
		})
		if err == nil {
			return sec, nil
		}
	}
	return pick(all[rest], a.Region, func(sec *secret) bool { return sec.account == a.AccountID })
}

func pick(list []*secret, region string, ok func(*secret) bool) (*secret, error) {
	var found *secret
	for _, sec := range list {
		if ok(sec) && (found == nil || sec.region == region) {
			found = sec
		}
	}
	if found == nil {
		return nil, errNotFound
	}
	return found, nil
}

// create makes a secret from a name or an ARN, in the given region. If region is empty, it is
// the ARN's region, or Region.
func (s *Server) create(region, id string) (*secret, error) {
	sec := &secret{
		partition: "aws", region: region, account: Account,
		name: id, suffix: randomSuffix(), created: time.Now(), changed: time.Now(),
	}
	if a, err := arn.Parse(id); err == nil {
		rest, ok := strings.CutPrefix(a.Resource, "secret:")
		if !ok || a.Service != "secretsmanager" || a.Region == "" {
			return nil, errors.New("not the ARN of a secret")
		}
		sec.partition, sec.region, sec.account, sec.name = a.Partition, a.Region, a.AccountID, rest
		if name, suffix, ok := cutSuffix(rest); ok {
			sec.name, sec.suffix = name, suffix
		}
	}
	if sec.region == "" {
		sec.region = Region
	}
	if !validName(sec.name) {
		return nil, errors.New("not the name of a secret: up to 512 of letters, digits and the characters -/_+=.@! are allowed")
	}
	s.secrets[sec.name] = append(s.secrets[sec.name], sec)
	return sec, nil
}

// forget deletes a secret.
func (s *Server) forget(sec *secret) {
	s.secrets[sec.name] = slices.DeleteFunc(s.secrets[sec.name], func(t *secret) bool { return t == sec })
}

// cutSuffix splits the end of a full ARN: name-a1b2c3.
func cutSuffix(s string) (name, suffix string, ok bool) {
	const n = 6
	if len(s) <= n+1 || s[len(s)-n-1] != '-' {
		return "", "", false
	}
	name, suffix = s[:len(s)-n-1], s[len(s)-n:]
	for _, c := range []byte(suffix) {
		if !alphanumeric(c) {
			return "", "", false
		}
	}
	return name, suffix, true
}

func validName(s string) bool {
	if s == "" || len(s) > 512 {
		return false
	}
	for _, c := range []byte(s) {
		if !alphanumeric(c) && strings.IndexByte("-/_+=.@!", c) < 0 {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func randomSuffix() string { return pickChars(letters+digits, 6) }

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
