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

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

const (
	// batchSize is the most ids that BatchGetSecretValue takes (API reference:
	// SecretIdList, 1 to 20 items).
	batchSize = 20
	// noBatchFor is how long BatchGetSecretValue is not tried in a region after it
	// was denied there.
	noBatchFor = 10 * time.Minute
	// singles is how many calls FetchBatch has under way when it fetches one by one.
	singles = 8
)

// BatchSize is 20, the most that BatchGetSecretValue takes.
func (s *Source) BatchSize() int { return batchSize }

// FetchBatch fetches the current versions of ids with one BatchGetSecretValue for
// each region that they are in, and returns one result for each, in their order.
// An id's error is its own.
//
// Where the call is denied or unknown it fetches one by one, and does not try the
// call again for 10 minutes. An id that the answer leaves out is also fetched
// alone.
func (s *Source) FetchBatch(ctx context.Context, ids []string) []secretcache.Result {
	b := &batch{s: s, ids: ids, results: make([]secretcache.Result, len(ids)), slots: make(chan struct{}, singles)}
	regions := map[string][]int{}
	routes := map[string]route{}
	for i, id := range ids {
		rt, err := s.route(ctx, id)
		if err != nil {
			b.fail(i, err.in(opBatch, id, rt.region))
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

// single fetches one id alone.
func (b *batch) single(ctx context.Context, i int) {
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		b.slots <- struct{}{} // whoever holds one gives it back when ctx ends
		defer func() { <-b.slots }()
		secret, err := b.s.Fetch(ctx, b.ids[i], secretcache.StageCurrent)
		b.results[i] = secretcache.Result{Secret: secret, Err: err}
	}()
}

// fetch gets the ids of one region, given by their index.
func (b *batch) fetch(ctx context.Context, rt route, index []int) {
	alone := func() {
		for _, i := range index {
			b.single(ctx, i)
		}
	}
	if b.s.batchDenied(rt.region) {
		alone()
		return
	}

	var out *secretsmanager.BatchGetSecretValueOutput
	var from *place
	f := b.s.doBatch(ctx, rt, func(ctx context.Context, p *place) error {
		var list []string
		for _, i := range index {
			if id := p.id(b.ids[i]); !slices.Contains(list, id) {
				list = append(list, id)
			}
		}
		o, err := p.client.BatchGetSecretValue(ctx, &secretsmanager.BatchGetSecretValueInput{SecretIdList: list})
		if err == nil && o == nil {
			err = errEmptyAnswer
		}
		out, from = o, p
		return err
	})
	if f != nil {
		switch {
		case f.deniedBatch:
			b.s.denyBatch(rt.region)
			alone()
		case f.oneByOne:
			alone()
		default:
			for _, i := range index {
				e := *f.err
				e.SecretID = b.ids[i]
				b.fail(i, &e)
			}
		}
		return
	}

	for _, i := range index {
		id := b.ids[i]
		if v := findValue(out.SecretValues, from.id(id)); v != nil {
			created := aws.ToTime(v.CreatedDate)
			if !b.s.current(id, secretcache.StageCurrent, created, from) {
				b.single(ctx, i) // says that the replica is behind, or asks another region
				continue
			}
			b.results[i] = secretcache.Result{Secret: secretcache.NewSecret(secretcache.Value{
				ID: id, ARN: rt.arn(v.ARN), Name: str(v.Name), VersionID: str(v.VersionId),
				Stages: strs(v.VersionStages), CreatedAt: created,
				String: str(v.SecretString), Binary: v.SecretBinary,
			})}
			continue
		}
		e := findError(out.Errors, from.id(id))
		if e == nil || !from.first {
			b.single(ctx, i)
			continue
		}
		f := failureOf(e)
		b.fail(i, f.in(opBatch, id, rt.region))
	}
}

// failureOf is what BatchGetSecretValue says about one id.
func failureOf(e *types.APIErrorType) *failure {
	api := apiError(httpfetch.Line(aws.ToString(e.ErrorCode)), httpfetch.Line(aws.ToString(e.Message)))
	c := causeOf(api)
	c.api = api
	c.text = api.ErrorCode()
	if m := api.ErrorMessage(); m != "" {
		c.text += ": " + m
	}
	f := &failure{class: refused, cause: c, kind: httpfetch.Kind(api.ErrorCode(), api.ErrorMessage())}
	if c.throttled() {
		f.kind = secretcache.ErrThrottled
	}
	return f
}

// A batchFailure is why the call failed for all ids.
type batchFailure struct {
	err         *Error
	deniedBatch bool // it is not allowed or not known
	oneByOne    bool // refused, maybe for one of the ids
}

func (s *Source) doBatch(ctx context.Context, rt route, call callFunc) *batchFailure {
	err := s.do(ctx, opBatch, "", rt, call)
	if err == nil {
		return nil
	}
	var c *cause
	if !errors.As(err, &c) {
		return &batchFailure{err: err}
	}
	return &batchFailure{
		err:         err,
		deniedBatch: c.unsupported() || c.api != nil && strings.HasPrefix(c.api.ErrorCode(), "AccessDenied"),
		oneByOne:    c.api != nil && c.status < 500 && !c.throttled() && !credentialCodes[c.api.ErrorCode()],
	}
}

// unsupported reports whether an error says that there is no such operation, as
// stand-ins for Secrets Manager do of BatchGetSecretValue.
func (c *cause) unsupported() bool {
	if c.api != nil {
		switch c.api.ErrorCode() {
		case "UnknownOperationException", "UnknownOperation", "InvalidAction",
			"NotImplemented", "NotImplementedException", "UnsupportedOperation", "UnsupportedOperationException":
			return true
		}
	}
	return c.status == http.StatusNotImplemented || errors.Is(c, errors.ErrUnsupported)
}

// credentialCodes are answers that the same credentials would get for each id.
var credentialCodes = map[string]bool{
	"UnrecognizedClientException": true, "InvalidClientTokenId": true, "InvalidSignatureException": true,
	"SignatureDoesNotMatch": true, "ExpiredTokenException": true, "ExpiredToken": true,
	"MissingAuthenticationTokenException": true, "IncompleteSignatureException": true, "IncompleteSignature": true,
	"RequestExpired": true, "OptInRequired": true, "InternalServiceError": true,
}

// batchDenied reports whether the call was denied in the region lately.
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

// findValue returns the answer for an id: a name, an ARN, or an ARN without the
// suffix of a hyphen and six characters that the service appends to the name.
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
