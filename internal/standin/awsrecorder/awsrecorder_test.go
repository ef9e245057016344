package awsrecorder_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/awsrecorder"
)

// The request and its signature are the example in AWS's documentation, "Signing AWS requests with
// Signature Version 4".
func TestSignaturesAreChecked(t *testing.T) {
	r := start(t)
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   string // in the error; empty: none
	}{
		{"as documented", func(*http.Request) {}, ""},
		{"another host", func(req *http.Request) { req.Host, req.URL.Host = "iam.example.com", "iam.example.com" }, "not one of this request"},
		{"another path", func(req *http.Request) { req.URL.Path = "/x" }, "not one of this request"},
		{"another query", func(req *http.Request) { req.URL.RawQuery = "Action=ListRoles&Version=2010-05-08" }, "not one of this request"},
		{"another header", func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") }, "not one of this request"},
		{"a body", func(req *http.Request) { req.Body = io.NopCloser(strings.NewReader("x")) }, "not one of this request"},
		{"another date", func(req *http.Request) { req.Header.Set("X-Amz-Date", "20150831T123600Z") }, "not one of this request"},
		{"another region", authorization("us-east-1", "us-west-2"), "not one of this request"},
		{"another service", authorization("/iam/", "/sts/"), "not one of this request"},
		{"another signature", authorization("5d672d79", "5d672d78"), "not one of this request"},
		{"another key", authorization("AKIDEXAMPLE", "AKIDOTHER"), "AKIDOTHER"},
		{"host not signed", authorization("content-type;host;x-amz-date", "content-type;x-amz-date"), "host is not signed"},
		{"token not signed", func(req *http.Request) { req.Header.Set("X-Amz-Security-Token", "t") }, "x-amz-security-token is not signed"},
		{"another scheme", authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "Authorization"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
			req.Header.Set("X-Amz-Date", "20150830T123600Z")
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "+
				"SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
			tt.change(req)
			res, err := r.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			got := r.Take()[0]
			switch {
			case tt.want == "" && (got.SignatureErr != nil || got.KeyID != "AKIDEXAMPLE" || got.Region != "us-east-1" || got.Service != "iam"):
				t.Errorf("%+v, want a signature of AKIDEXAMPLE for us-east-1 and iam", got)
			case tt.want != "" && (got.SignatureErr == nil || !strings.Contains(got.SignatureErr.Error(), tt.want)):
				t.Errorf("error %v, want one about %q", got.SignatureErr, tt.want)
			}
		})
	}
}

func authorization(from, to string) func(*http.Request) {
	return func(req *http.Request) {
		req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), from, to, 1))
	}
}

func start(t *testing.T) *awsrecorder.Recorder {
	t.Helper()
	r, err := awsrecorder.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func client(r *awsrecorder.Recorder) *http.Client {
	proxy, err := url.Parse(r.URL())
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.CA())
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
	}}
}

func TestEveryHostIsAnswered(t *testing.T) {
	r := start(t)
	r.SetSecret("value")
	for _, u := range []string{"https://a.example.com/", "http://b.example.com/path/", "https://a.example.com:8443/x"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u, strings.NewReader(`{"SecretId":"prod/app","VersionStage":"AWSCURRENT"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
		for way, do := range map[string]func(*http.Request) (*http.Response, error){"proxy": client(r).Do, "Do": r.Do} {
			if req.Body, err = req.GetBody(); err != nil {
				t.Fatal(err)
			}
			res, err := do(req)
			if err != nil {
				t.Fatalf("%s, %s: %v", u, way, err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), `"SecretString":"value"`) {
				t.Errorf("%s, %s: status %d, %v", u, way, res.StatusCode, err)
			}
			got := r.Take()
			if len(got) != 1 || got[0].URL != u || got[0].Action != "GetSecretValue" || got[0].Params["SecretId"] != "prod/app" || got[0].KeyID != "" {
				t.Errorf("%s, %s: recorded %+v", u, way, got)
			}
		}
	}
}
