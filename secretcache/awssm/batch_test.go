package awssm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func TestBatch(t *testing.T) {
	s := awssmtest.NewServer(t)
	src := s.Source()
	if src.BatchSize() != 20 {
		t.Errorf("BatchSize %d", src.BatchSize())
	}
	s.Put("a", "1")
	s.PutBinary("b", []byte("2"))
	s.Put("c", "3")
	s.Put("denied", "4")
	s.Put("gone", "5")
	s.Delete("gone")
	s.PutStage("pending", "6", "AWSPENDING")
	arnB, arnC := s.ARN("b"), s.ARN("c")
	s.Fail(awssmtest.Denied.Secret("denied"))
	s.Put("slow", "7")
	s.Fail(awssmtest.Throttle.Secret("slow"))

	ids := []string{"a", arnB, arnC[:len(arnC)-7], "none", "denied", "gone", "pending", "a", "not valid", s.ARN("a"), "slow"}
	res := src.FetchBatch(t.Context(), ids)
	if len(res) != len(ids) {
		t.Fatalf("%d results", len(res))
	}
	for i, tt := range []struct {
		value string
		err   error
		as    any
	}{
		{"1", nil, nil},
		{"2", nil, nil},
		{"3", nil, nil},
		{"", secretcache.ErrNotFound, new(*types.ResourceNotFoundException)},
		{"", secretcache.ErrAccessDenied, new(smithy.APIError)},
		{"", secretcache.ErrNotFound, new(*types.InvalidRequestException)},
		{"", secretcache.ErrNoVersion, new(*types.ResourceNotFoundException)},
		{"1", nil, nil},
		{"", nil, new(*awssm.Error)},
		{"1", nil, nil},
		{"", secretcache.ErrThrottled, new(smithy.APIError)},
	} {
		r := res[i]
		if tt.value != "" {
			if r.Err != nil || r.Secret.Reveal() != tt.value || r.Secret.ID() != ids[i] || r.Secret.VersionID() == "" || r.Secret.Stages()[0] != "AWSCURRENT" || r.Secret.CreatedAt().IsZero() {
				t.Errorf("%s: %v, %v, want %q", ids[i], r.Secret, r.Err, tt.value)
			}
			continue
		}
		if r.Secret != nil || r.Err == nil || tt.err != nil && !errors.Is(r.Err, tt.err) || !errors.As(r.Err, tt.as) {
			t.Errorf("%s: %v, %v, want %v and a %T", ids[i], r.Secret, r.Err, tt.err, tt.as)
		}
		var e *awssm.Error
		if !errors.As(r.Err, &e) || e.SecretID != ids[i] && ids[i] != "not valid" {
			t.Errorf("%s: %v names %q", ids[i], r.Err, e.SecretID)
		}
	}
	if want := `BatchGetSecretValue "none" in us-west-2: secret not found: ResourceNotFoundException: Secrets Manager can't find the specified secret.`; res[3].Err.Error() != want {
		t.Errorf("text\n got %v\nwant %s", res[3].Err, want)
	}
	// The throttled secret is fetched alone, with all attempts of a fetch.
	if b, g := s.Calls("BatchGetSecretValue"), s.Calls("GetSecretValue"); b != 1 || g != awssm.DefaultMaxAttempts {
		t.Errorf("%d and %d calls, want 1 and %d", b, g, awssm.DefaultMaxAttempts)
	}
	if got := s.Requests()[0].SecretIDs; len(got) != 9 {
		t.Errorf("asked for %q, want each once", got)
	}
	if got := src.FetchBatch(t.Context(), nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestBatchOfSeveralRegionsAndMoreThanTwenty(t *testing.T) {
	s := awssmtest.NewServer(t)
	var ids []string
	for i := range 45 {
		id := fmt.Sprint("s", i)
		s.Put(id, id)
		if i%3 == 0 {
			id = strings.Replace(s.ARN(id), west, east, 1)
		}
		ids = append(ids, id)
	}
	for i, r := range s.Source().FetchBatch(t.Context(), ids) {
		if r.Err != nil || r.Secret.Reveal() != fmt.Sprint("s", i) {
			t.Errorf("%d: %v, %v", i, r.Secret, r.Err)
		}
	}
	calls := map[string]int{}
	for _, r := range s.Requests() {
		calls[r.Region]++
		for _, id := range r.SecretIDs {
			if strings.HasPrefix(id, "arn:") && !strings.Contains(id, r.Region) {
				t.Errorf("%s asked in %s", id, r.Region)
			}
		}
	}
	if calls[west] != 2 || calls[east] != 1 || s.Calls("GetSecretValue") != 0 {
		t.Errorf("calls %v", calls)
	}
}

func TestBatchThatIsDeniedFetchesOneByOne(t *testing.T) {
	for name, f := range map[string]awssmtest.Fault{
		"denied":      awssmtest.Denied,
		"unknown":     awssmtest.Error(400, "UnknownOperationException", ""),
		"no code":     awssmtest.Answer(501, ""),
		"not for all": awssmtest.Error(400, "InvalidParameterException", "one of them"),
		"not found":   awssmtest.Error(400, "ResourceNotFoundException", "one of them"),
		"not now":     awssmtest.Throttle,
	} {
		t.Run(name, func(t *testing.T) {
			s := awssmtest.NewServer(t)
			s.Put("a", "1")
			s.Put("b", "2")
			s.Fail(f.Op("BatchGetSecretValue"))
			src := s.Source(func(o *awssm.Options) { o.MaxAttempts = -1 })
			for i := range 2 {
				res := src.FetchBatch(t.Context(), []string{"a", "none", "b"})
				if res[0].Err != nil || res[0].Secret.Reveal() != "1" || !errors.Is(res[1].Err, secretcache.ErrNotFound) || res[2].Err != nil {
					t.Errorf("%v", res)
				}
				want := 1
				if strings.HasPrefix(name, "not") {
					want = i + 1 // the next attempt may work
				}
				if b, g := s.Calls("BatchGetSecretValue"), s.Calls("GetSecretValue"); b != want || g != 3*(i+1) {
					t.Errorf("%d and %d calls, want %d and %d", b, g, want, 3*(i+1))
				}
			}
		})
	}
}

func TestADeniedBatchIsTriedAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var ops []string
		f.set(west, func(op, id, stage string) (int, string) {
			ops = append(ops, op)
			if op == "BatchGetSecretValue" {
				return errorAnswer(400, "AccessDeniedException", "no")(op, id, stage)
			}
			return secretAnswer("v", time.Unix(1, 0))(op, id, stage)
		})
		src := f.source()
		for _, wait := range []time.Duration{0, 9 * time.Minute, time.Minute} {
			time.Sleep(wait)
			if r := src.FetchBatch(t.Context(), []string{"x"}); r[0].Err != nil {
				t.Error(r[0].Err)
			}
		}
		if got := strings.Join(ops, " "); got != "BatchGetSecretValue GetSecretValue GetSecretValue BatchGetSecretValue GetSecretValue" {
			t.Errorf("calls: %s", got)
		}
	})
}

func TestBatchThatFailsFailsAll(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	for _, f := range []awssmtest.Fault{
		awssmtest.ServerError, awssmtest.CloseConn, awssmtest.Hang,
		awssmtest.Error(400, "ExpiredTokenException", "The security token included in the request is expired"),
	} {
		s.Heal()
		s.ResetCalls()
		s.Fail(f)
		src := s.Source(func(o *awssm.Options) { o.AttemptTimeout, o.MaxAttempts = 50*time.Millisecond, 2 })
		for i, r := range src.FetchBatch(t.Context(), []string{"a", "b"}) {
			var e *awssm.Error
			if !errors.As(r.Err, &e) || e.SecretID != []string{"a", "b"}[i] || e.Op != "BatchGetSecretValue" {
				t.Errorf("%v: %v", f, r.Err)
			}
		}
		if n := s.Calls("GetSecretValue"); n != 0 || s.Calls("BatchGetSecretValue") > 2 {
			t.Errorf("%v: %d and %d calls", f, s.Calls("BatchGetSecretValue"), n)
		}
	}
	s.Heal()
	s.Fail(awssmtest.Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if r := s.Source().FetchBatch(ctx, []string{"a"}); !errors.Is(r[0].Err, context.DeadlineExceeded) {
		t.Error(r[0].Err)
	}
}

// An id with an error is fetched alone if a single fetch would be retried after that error.
func TestAnIDThatFailsInABatchIsFetchedAlone(t *testing.T) {
	for _, tt := range []struct {
		fault awssmtest.Fault
		again bool
	}{
		{awssmtest.Throttle, true},
		{awssmtest.ServerError, true},
		{awssmtest.Error(400, "LimitExceededException", "no"), true},
		{awssmtest.Denied, false},
		{awssmtest.Error(400, "InvalidRequestException", "no"), false},
	} {
		s := awssmtest.NewServer(t)
		for _, id := range []string{"a", "b"} {
			s.Put(id, id)
		}
		s.Fail(tt.fault.Secret("a").Times(1))
		r := s.Source().FetchBatch(t.Context(), []string{"a", "b"})
		if (r[0].Err == nil) != tt.again || r[1].Err != nil {
			t.Errorf("%v: got %v and %v, want a secret: %t, and one", tt.fault, r[0].Err, r[1].Err, tt.again)
		}
		if n := s.Calls("GetSecretValue"); n != map[bool]int{true: 1}[tt.again] {
			t.Errorf("%v: %d calls for one secret", tt.fault, n)
		}

		s.Fail(tt.fault.Secret("b").Times(1))
		c := secretcache.New(s.Source(), nil)
		err := c.Prefetch(t.Context(), "a", "b")
		if (err == nil) != tt.again {
			t.Errorf("%v: Prefetch() = %v, want an error: %t", tt.fault, err, !tt.again)
		}
		if _, err := c.Get(t.Context(), "b", ""); (err == nil) != tt.again {
			t.Errorf("%v: Get() = %v, want an error: %t", tt.fault, err, !tt.again)
		}
		_ = c.Close()
	}
}

// An id that the answer leaves out, or for which a replica has an error, is fetched alone.
func TestIncompleteBatchAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		list := `{"SecretValues":[{"ARN":"` + eastARN + `","Name":"x","VersionId":"b","CreatedDate":%d,"SecretString":"v"}],"Errors":[%s]}`
		batch := func(created int, errs string, then answer) answer {
			return func(op, id, stage string) (int, string) {
				if op == "BatchGetSecretValue" {
					return 200, fmt.Sprintf(list, created, errs)
				}
				return then(op, id, stage)
			}
		}
		f.set(west, batch(1000, "", secretAnswer("single", time.Unix(1, 0))))
		src := f.source(fallback(east))
		check := func(ids, want string) {
			t.Helper()
			f.ids = nil
			var got []string
			for _, r := range src.FetchBatch(t.Context(), strings.Fields(ids)) {
				if r.Err != nil {
					got = append(got, r.Err.Error())
				} else {
					got = append(got, r.Secret.VersionID())
				}
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s:\n got %s\nwant %s (calls %q)", ids, s, want, f.ids)
			}
		}
		check("x y", "b single")

		// An error of a replica about one id does not count, and neither does an older version.
		f.set(west, broken)
		none := `{"SecretId":"y","ErrorCode":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`
		f.set(east, batch(1000, none, secretAnswer("single", time.Unix(1, 0))))
		check("x y", "b single")
		f.set(east, batch(999, none, secretAnswer("single", time.Unix(998, 0))))
		check("x", `GetSecretValue "x" in us-west-2: unexpected EOF (3 attempts); in us-east-1: replica is behind: it has an older version than was fetched before`)
		f.set(west, batch(999, "", secretAnswer("single", time.Unix(1, 0))))
		check("x", "single")

		// An id may look like the ARN of another secret.
		f.set(west, batch(1, `{"SecretId":"y","ErrorCode":"InternalServiceError"},{"SecretId":"z","ErrorCode":"InvalidParameterException"}`, secretAnswer("single", time.Unix(1, 0))))
		f.set(east, broken)
		check(westARN[:len(westARN)-7], "single") // the answer has the other region's ARN
		check("y z", `single BatchGetSecretValue "z" in us-west-2: InvalidParameterException`)
		f.set(west, func(string, string, string) (int, string) { return 200, `null` })
		check("x", `BatchGetSecretValue "x" in us-west-2: answer could not be read (3 attempts); in us-east-1: unexpected EOF (3 attempts)`)
	})
}
