package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

const (
	homeRegion, otherRegion = "us-west-2", "us-east-1"

	secretName = "prod/app"
	userName   = "app"

	stageCurrent, stagePending, stagePrevious = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"

	// The time that Secrets Manager takes for an answer: at least the first, at most the second.
	callMin, callMax = 10 * time.Millisecond, 40 * time.Millisecond
)

// A service is a model of Secrets Manager in two regions. It is the HTTP client of the AWS SDK, so
// everything above HTTP is real.
type service struct {
	meter *meter

	mu       sync.Mutex // guards all below
	regions  map[string]*region
	versions map[string]string // password, by version id
	stages   map[string]string // version id, by stage
	created  map[string]time.Time
}

// A state says what a region does with calls.
type state int

const (
	up state = iota
	failing
	hanging
)

// A region throttles each operation separately.
type region struct {
	state      state
	others     float64 // the share of the quotas that other programs use
	get, batch bucket  // GetSecretValue, BatchGetSecretValue
}

// A bucket is a token bucket that holds the calls of one second.
type bucket struct {
	quota  float64 // calls per second
	tokens float64
	filled time.Time
}

func newService(m *meter, quota float64) *service {
	s := &service{meter: m, regions: map[string]*region{},
		versions: map[string]string{}, stages: map[string]string{}, created: map[string]time.Time{}}
	for _, name := range []string{homeRegion, otherRegion} {
		s.regions[name] = &region{get: newBucket(quota), batch: newBucket(quota * BatchQuota / Quota)}
	}
	return s
}

// source returns a Source that calls the service. If both is set, it also calls the second region.
func (s *service) source(both bool) *awssm.Source {
	return awssm.New(func(o *awssm.Options) {
		o.Region = homeRegion
		o.Config = &aws.Config{HTTPClient: s,
			Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "example", "")}
		if both {
			o.Regions = []string{otherRegion}
		}
	})
}

// put adds a version and gives it a stage.
func (s *service) put(version, password, stage string) {
	s.mu.Lock()
	s.versions[version], s.created[version] = password, time.Now()
	s.mu.Unlock()
	s.move(stage, version)
}

// move moves a stage as the service does. AWSPREVIOUS moves to the former version of AWSCURRENT.
// AWSPENDING is removed from the version that becomes current.
func (s *service) move(stage, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stage == stageCurrent {
		if old := s.stages[stage]; old != "" && old != version {
			s.stages[stagePrevious] = old
		}
		if s.stages[stagePending] == version {
			delete(s.stages, stagePending)
		}
	}
	s.stages[stage] = version
}

// set changes what a region does with calls. others is the share of its quota that other programs
// use.
func (s *service) set(name string, now state, others float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regions[name].state, s.regions[name].others = now, others
}

// setAll calls set for all regions.
func (s *service) setAll(now state, others float64) {
	s.set(homeRegion, now, others)
	s.set(otherRegion, now, others)
}

func newBucket(quota float64) bucket {
	return bucket{quota: quota, tokens: max(1, quota), filled: time.Now()}
}

// take reports whether the quota allows one more call. Other programs use a share of the quota.
func (b *bucket) take(others float64) bool {
	now := time.Now()
	rate := b.quota * (1 - others)
	b.tokens = min(max(1, rate), b.tokens+rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// An input is the input of GetSecretValue or of BatchGetSecretValue.
type input struct {
	SecretId, VersionStage string
	SecretIdList           []string
}

func (in *input) isBatch() bool { return in.SecretIdList != nil }

// count counts a call.
func (s *service) count(ctx context.Context, in *input) {
	if in.isBatch() {
		s.meter.count(func(n *Second) { n.Batches++ })
		return
	}
	s.meter.count(func(n *Second) { n.Calls++ })
	if i, ok := ctx.Value(instanceKey{}).(*instance); ok {
		i.calls.Add(1)
	}
}

// Do answers a call of the AWS SDK.
func (s *service) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	var in input
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return nil, err
	}
	s.count(ctx, &in)
	if err := wait(ctx, callMin+chance.UpTo(callMax-callMin)); err != nil {
		return nil, err
	}
	status, answer, err := s.answer(ctx, req.URL.Host, &in)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
	return &http.Response{Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)), Request: req}, nil
}

// answer decides what a region answers.
func (s *service) answer(ctx context.Context, host string, in *input) (int, []byte, error) {
	name := homeRegion
	if strings.Contains(host, otherRegion) {
		name = otherRegion
	}
	s.mu.Lock()
	r := s.regions[name]
	now, limit := r.state, &r.get
	if in.isBatch() {
		limit, in.VersionStage = &r.batch, stageCurrent
	}
	allowed := now == up && limit.take(r.others)
	version := s.stages[in.VersionStage]
	password, created := s.versions[version], s.created[version]
	s.mu.Unlock()
	switch {
	case now == hanging:
		s.meter.count(func(n *Second) { n.Failed++ })
		<-ctx.Done()
		return 0, nil, ctx.Err()
	case now == failing:
		s.meter.count(func(n *Second) { n.Failed++ })
		return http.StatusServiceUnavailable, exception("InternalServiceError", "the service is down"), nil
	case !allowed:
		s.meter.count(func(n *Second) {
			if in.isBatch() {
				n.BatchesThrottled++
			} else {
				n.Throttled++
			}
		})
		return http.StatusBadRequest, exception("ThrottlingException", "Rate exceeded"), nil
	case version == "":
		return http.StatusBadRequest, exception("ResourceNotFoundException",
			"Secrets Manager can't find the specified secret value for staging label: "+in.VersionStage), nil
	}
	value := func(id string) map[string]any {
		return map[string]any{
			"ARN":  "arn:aws:secretsmanager:" + name + ":123456789012:secret:" + id + "-AbCdEf",
			"Name": id, "VersionId": version, "VersionStages": []string{in.VersionStage},
			"CreatedDate":  float64(created.UnixMilli()) / 1000,
			"SecretString": fmt.Sprintf(`{"host":"db.example.com","username":%q,"password":%q}`, userName, password),
		}
	}
	if !in.isBatch() {
		return http.StatusOK, mustJSON(value(in.SecretId)), nil
	}
	var values []map[string]any
	for _, id := range in.SecretIdList {
		values = append(values, value(id))
	}
	return http.StatusOK, mustJSON(map[string]any{"SecretValues": values}), nil
}

func exception(kind, message string) []byte {
	return mustJSON(map[string]string{"__type": kind, "message": message})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// wait sleeps for d, or until ctx ends. Its error is ctx's.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
