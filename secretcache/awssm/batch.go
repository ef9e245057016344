package awssm

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

const (
	// batchSize is the largest number of ids that BatchGetSecretValue takes (API reference:
	// SecretIdList, 1 to 20 items).
	batchSize = 20
	// noBatchFor is how long BatchGetSecretValue is not tried in a region after it
	// was denied there.
	noBatchFor = 10 * time.Minute
	// singles is how many calls one FetchBatch has under way when it fetches one by one.
	singles = 8
)

// BatchSize returns 20, the largest number of ids that BatchGetSecretValue takes.
func (s *Source) BatchSize() int { return batchSize }

// FetchBatch fetches the AWSCURRENT versions of ids. It calls BatchGetSecretValue once for each
// region of the ids (with more than 20 ids, once for each 20), and returns one result for each
// id, in the same order. The error of one id does not fail the others; it is an [*Error].
//
// If the call is denied or unknown in a region, FetchBatch calls GetSecretValue for each id,
// and does not try the batch call again for 10 minutes. If the batch call is throttled, it also
// calls GetSecretValue for each id: AWS allows 100 batch calls per second, and 10,000 of
// GetSecretValue. An id that is missing in the answer, or whose error may go away, is also
// fetched alone.
func (s *Source) FetchBatch(ctx context.Context, ids []string) []secretcache.Result {
	b := &batch{s: s, ids: ids, results: make([]secretcache.Result, len(ids)), slots: make(chan struct{}, singles)}
	regions := map[string][]int{}
	routes := map[string]route{}
	for i, id := range ids {
		rt, err := s.route(ctx, id)
		if err != nil {
			b.fail(i, err.in(s, opBatch, id, rt.region))
			continue
		}
		if s.o.Client != nil {
			rt.region = "" // one client for all
		}
		routes[rt.region] = rt
		regions[rt.region] = append(regions[rt.region], i)
	}
	for region, index := range regions {
		for chunk := range slices.Chunk(index, batchSize) {
			b.wg.Add(1)
			go func() {
				defer b.wg.Done()
				b.fetch(ctx, routes[region], chunk)
			}()
		}
	}
	b.wg.Wait()
	return b.results
}

// A batch is one FetchBatch. Each result is written by one goroutine.
type batch struct {
	s       *Source
	ids     []string
	results []secretcache.Result
	wg      sync.WaitGroup
	slots   chan struct{}
}

func (b *batch) fail(i int, err *Error) { b.results[i] = secretcache.Result{Err: err} }

// single fetches one id alone, after a pause.
func (b *batch) single(ctx context.Context, i int, pause time.Duration) {
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		_ = deadline.Sleep(ctx, pause) // Fetch returns the error if ctx ended
		b.slots <- struct{}{}          // never blocks for long: calls that hold a slot end with ctx
		defer func() { <-b.slots }()
		secret, err := b.s.Fetch(ctx, b.ids[i], secretcache.StageCurrent)
		b.results[i] = secretcache.Result{Secret: secret, Err: err}
	}()
}

// alone fetches ids one by one.
func (b *batch) alone(ctx context.Context, index []int) {
	for _, i := range index {
		b.single(ctx, i, 0)
	}
}

// fetch fetches the ids of one region. index has their positions in b.ids.
func (b *batch) fetch(ctx context.Context, rt route, index []int) {
	if b.s.batchDenied(rt.region) {
		b.alone(ctx, index)
		return
	}
	out, from, err := b.call(ctx, rt, index)
	if err == nil {
		for _, i := range index {
			b.take(ctx, i, rt, out, from)
		}
		return
	}
	c := new(cause)
	errors.As(err, &c)
	switch {
	case c.deniesBatch():
		b.s.denyBatch(rt.region)
		b.alone(ctx, index)
	case c.throttled(), c.mayBeOfOne(): // GetSecretValue has a quota of its own, 100 times as large
		b.alone(ctx, index)
	default:
		for _, i := range index {
			e := *err
			e.SecretID = b.ids[i]
			b.fail(i, &e)
		}
	}
}

// call asks for each id once, and returns the answer and the region that gave it.
func (b *batch) call(ctx context.Context, rt route, index []int) (out *secretsmanager.BatchGetSecretValueOutput, from *place, failed *Error) {
	failed = b.s.do(ctx, opBatch, "", rt, func(ctx context.Context, p *place) (err error) {
		var list []string
		for _, i := range index {
			if id := p.id(b.ids[i]); !slices.Contains(list, id) {
				list = append(list, id)
			}
		}
		from = p
		out, err = p.client.BatchGetSecretValue(ctx, &secretsmanager.BatchGetSecretValueInput{SecretIdList: list})
		if err == nil && out == nil {
			err = errEmptyAnswer
		}
		return err
	})
	return out, from, failed
}

// take sets the result of one id from an answer. It fetches the id alone if the answer does
// not have it, if a replica does not have it, or if a replica has an older version of it.
// That fetch asks another region, or its error says why there is no secret.
func (b *batch) take(ctx context.Context, i int, rt route, out *secretsmanager.BatchGetSecretValueOutput, from *place) {
	id := b.ids[i]
	v, e := findValue(out.SecretValues, from.id(id)), findError(out.Errors, from.id(id))
	switch {
	case v != nil && b.s.current(id, secretcache.StageCurrent, aws.ToTime(v.CreatedDate), from):
		b.results[i] = secretcache.Result{Secret: secretcache.NewSecret(secretcache.Value{
			ID: id, ARN: rt.arn(v.ARN), Name: str(v.Name), VersionID: str(v.VersionId),
			Stages: strs(v.VersionStages), CreatedAt: aws.ToTime(v.CreatedDate),
			String: str(v.SecretString), Binary: v.SecretBinary,
		})}
	case v == nil && e != nil && from.first:
		f := failureOf(e)
		failed := f.in(b.s, opBatch, id, rt.region)
		if !f.retry {
			b.fail(i, failed)
			return
		}
		secretcache.AttemptFailed(ctx, failed)
		b.single(ctx, i, f.pause(1))
	default:
		b.single(ctx, i, 0)
	}
}

// failureOf returns the failure of one id in an answer of BatchGetSecretValue.
func failureOf(e *types.APIErrorType) *failure {
	api := apiError(httpfetch.Line(aws.ToString(e.ErrorCode)), unquoted(aws.ToString(e.Message)), smithy.FaultUnknown)
	return causeOfAPI(api).failure()
}

// deniesBatch reports whether the call itself is not allowed or not known.
func (c *cause) deniesBatch() bool {
	return c.unsupported() || strings.HasPrefix(c.code(), "AccessDenied")
}

// mayBeOfOne reports whether a call may have failed because of one of its ids.
func (c *cause) mayBeOfOne() bool {
	return c.api != nil && c.status < 500 && !credentialCodes[c.code()]
}

// unsupported reports whether an error says that the server has no such operation. Servers
// that imitate Secrets Manager say so of BatchGetSecretValue.
func (c *cause) unsupported() bool {
	switch c.code() {
	case "UnknownOperationException", "UnknownOperation", "InvalidAction",
		"NotImplemented", "NotImplementedException", "UnsupportedOperation", "UnsupportedOperationException":
		return true
	}
	return c.status == http.StatusNotImplemented || errors.Is(c, errors.ErrUnsupported)
}

// credentialCodes are errors that do not depend on the id, most of them about credentials.
var credentialCodes = map[string]bool{
	"UnrecognizedClientException": true, "InvalidClientTokenId": true, "InvalidSignatureException": true,
	"SignatureDoesNotMatch": true, "ExpiredTokenException": true, "ExpiredToken": true,
	"MissingAuthenticationTokenException": true, "IncompleteSignatureException": true, "IncompleteSignature": true,
	"RequestExpired": true, "OptInRequired": true, "InternalServiceError": true,
}

// batchDenied reports whether the call was denied in the region within noBatchFor.
func (s *Source) batchDenied(region string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.noBatch[region])
}

func (s *Source) denyBatch(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noBatch[region] = time.Now().Add(noBatchFor)
}

// findValue returns the answer for an id, or nil. The id is a name, an ARN, or an ARN without
// the suffix of a hyphen and six characters that the service appends to the name.
func findValue(values []types.SecretValueEntry, id string) *types.SecretValueEntry {
	for i := range values {
		if v := &values[i]; aws.ToString(v.ARN) == id || aws.ToString(v.Name) == id {
			return v
		}
	}
	for i := range values {
		if v := &values[i]; partialARN(id, aws.ToString(v.ARN), aws.ToString(v.Name)) {
			return v
		}
	}
	return nil
}

// partialARN reports whether id is the secret's ARN without its suffix.
func partialARN(id, full, name string) bool {
	a, err := arn.Parse(id)
	if err != nil || name == "" || strings.TrimPrefix(a.Resource, "secret:") != name {
		return false
	}
	const suffix = len("-a1b2c3")
	return len(full) == len(id)+suffix && strings.HasPrefix(full, id+"-")
}

func findError(errs []types.APIErrorType, id string) *types.APIErrorType {
	for i := range errs {
		if aws.ToString(errs[i].SecretId) == id {
			return &errs[i]
		}
	}
	return nil
}
