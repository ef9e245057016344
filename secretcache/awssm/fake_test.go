package awssm_test

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

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// A fakeService is the API of all regions without a network, so that it works in a synctest
// bubble. It is an aws.HTTPClient.
type fakeService struct {
	mu      sync.Mutex
	regions map[string]answer // by region
	calls   map[string]int    // by region
	ids     []string          // SecretId and SecretIdList of each call, with its region
}

// An answer returns the status and body for a request. With status zero the request hangs; with a
// negative status the connection breaks.
type answer func(op, id, stage string) (int, string)

func newFake() *fakeService {
	return &fakeService{regions: map[string]answer{}, calls: map[string]int{}}
}

func (f *fakeService) set(region string, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.regions[region] = a
}

func (f *fakeService) count(region string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[region]
}

func (f *fakeService) Do(req *http.Request) (*http.Response, error) {
	var in struct {
		SecretId, VersionStage string
		SecretIdList           []string
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	region := strings.Split(req.URL.Host, ".")[1]
	op := strings.TrimPrefix(req.Header.Get("X-Amz-Target"), "secretsmanager.")
	id := in.SecretId + strings.Join(in.SecretIdList, ",")
	f.mu.Lock()
	f.calls[region]++
	f.ids = append(f.ids, region+" "+id)
	a := f.regions[region]
	f.mu.Unlock()
	if a == nil {
		return nil, fmt.Errorf("no region %s", region)
	}
	status, text := a(op, id, in.VersionStage)
	switch {
	case status == 0:
		<-req.Context().Done()
		return nil, req.Context().Err()
	case status < 0:
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewBufferString(text)), Request: req}, nil
}

// source returns a Source that asks the fake.
func (f *fakeService) source(optFns ...func(*awssm.Options)) *awssm.Source {
	return awssm.New(append([]func(*awssm.Options){func(o *awssm.Options) {
		o.Config = &aws.Config{
			Region:     "us-west-2",
			HTTPClient: f,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "x"}, nil
			}),
		}
	}}, optFns...)...)
}

// secretAnswer answers with a version of a secret.
func secretAnswer(version string, created time.Time) answer {
	return func(_, id, stage string) (int, string) {
		return 200, fmt.Sprintf(`{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:x-a1b2c3","Name":"x","VersionId":%q,"VersionStages":[%q],"CreatedDate":%f,"SecretString":"v"}`,
			version, stage, float64(created.UnixMilli())/1000)
	}
}

func errorAnswer(status int, code, text string) answer {
	return func(string, string, string) (int, string) {
		return status, fmt.Sprintf(`{"__type":%q,"Message":%q}`, code, text)
	}
}

func hang(string, string, string) (int, string)   { return 0, "" }
func broken(string, string, string) (int, string) { return -1, "" }
