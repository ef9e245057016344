// Package awsrecorder stands in for every endpoint of AWS, for tests of what is signed and sent. It
// has an HTTP proxy on the loopback interface that answers requests to any host itself and forwards
// none. It also has an HTTP client that sends nothing.
package awsrecorder

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Credentials whose signatures a Recorder can check. The credentials of the role are its answer to
// AssumeRole and AssumeRoleWithWebIdentity.
const (
	KeyID, SecretKey         = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	RoleKeyID, RoleSecretKey = "ASIAROLEEXAMPLE", "secret key of the role"
	RoleToken                = "session token of the role"
)

// A Request is a request that was sent.
type Request struct {
	URL       string            // scheme, host and path
	Action    string            // "GetSecretValue", "AssumeRole"
	Params    map[string]string // members of the body that are text, such as "SecretId"
	Token     string            // the header X-Amz-Security-Token
	UserAgent string

	// From the credential scope of the signature; empty without a signature.
	KeyID, Region, Service string
	// SignatureErr says why the signature does not belong to the request, or is by a key that the
	// Recorder does not know. It is nil without a signature.
	SignatureErr error
}

// A Recorder answers requests and keeps them. Its methods may be called from several
// goroutines at once.
type Recorder struct {
	proxy *httptest.Server
	tls   *http.Server // for connections that came by CONNECT
	conns *connListener
	auth  *authority

	mu       sync.Mutex
	secret   string
	refused  string
	life     time.Duration
	requests []Request
}

// Start starts a Recorder. The caller closes it.
func Start() (*Recorder, error) {
	auth, err := newAuthority()
	if err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	r := &Recorder{auth: auth, conns: newConnListener(), life: time.Hour}
	r.tls = &http.Server{Handler: http.HandlerFunc(r.answer), ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
	go func() { _ = r.tls.Serve(r.conns) }()
	r.proxy = httptest.NewUnstartedServer(http.HandlerFunc(r.serveProxy))
	r.proxy.Config.ErrorLog = quiet
	r.proxy.Start()
	return r, nil
}

// Close ends all connections.
func (r *Recorder) Close() {
	r.proxy.Close()
	_ = r.tls.Close()
}

// URL returns the URL of the proxy, for HTTPS_PROXY and HTTP_PROXY.
func (r *Recorder) URL() string { return r.proxy.URL }

// CA returns the certificate of the authority that signs for all hosts, in PEM.
func (r *Recorder) CA() []byte { return r.auth.pem }

// SetSecret sets the SecretString that GetSecretValue returns, for every id.
func (r *Recorder) SetSecret(value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = value
}

// SetRoleLife sets how long the credentials of a role last. It is an hour at first.
func (r *Recorder) SetRoleLife(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life = d
}

// Refuse makes the Recorder answer later requests to a host with status 503. An empty host ends
// that.
func (r *Recorder) Refuse(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = host
}

// Take returns the requests since the last Take, oldest first.
func (r *Recorder) Take() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.requests
	r.requests = nil
	return taken
}

// Do answers a request without sending it, so that a Recorder is an aws.HTTPClient.
func (r *Recorder) Do(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.answer(w, req)
	res := w.Result()
	res.Request = req
	return res, nil
}

// serveProxy answers a request to the proxy: a plain request, or CONNECT.
func (r *Recorder) serveProxy(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodConnect {
		r.answer(w, req)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	r.conns.push(tls.Server(c, &tls.Config{GetCertificate: r.auth.certificate, NextProtos: []string{"http/1.1"}}))
}

// answer answers as the service that the request is for.
func (r *Recorder) answer(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, "no body", http.StatusBadRequest)
		return
	}
	u := url.URL{Scheme: "https", Host: req.Host, Path: req.URL.Path}
	if req.TLS == nil {
		u.Scheme = req.URL.Scheme // a request to the proxy, or to Do, has one
	}
	if u.Host == "" {
		u.Host = req.URL.Host
	}
	s := Request{
		URL: u.String(), Params: map[string]string{},
		Token: req.Header.Get("X-Amz-Security-Token"), UserAgent: req.UserAgent(),
	}
	if target := req.Header.Get("X-Amz-Target"); target != "" {
		_, s.Action, _ = strings.Cut(target, ".")
		var members map[string]any
		_ = json.Unmarshal(body, &members)
		for name, m := range members {
			if text, ok := m.(string); ok {
				s.Params[name] = text
			}
		}
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		s.Action = form.Get("Action")
		for name := range form {
			s.Params[name] = form.Get(name)
		}
	}
	s.checkSignature(req, u, body)

	r.mu.Lock()
	r.requests = append(r.requests, s)
	secret, refused, life := r.secret, r.refused != "" && r.refused == u.Host, r.life
	r.mu.Unlock()
	if refused {
		http.Error(w, "refused", http.StatusServiceUnavailable)
		return
	}

	switch s.Action {
	case "GetSecretValue":
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		id := s.Params["SecretId"]
		arn := id
		if !strings.HasPrefix(id, "arn:") {
			arn = "arn:aws:secretsmanager:" + s.Region + ":123456789012:secret:" + id + "-a1b2c3"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"ARN": arn, "Name": id, "VersionId": "v", "SecretString": secret,
			"VersionStages": []string{s.Params["VersionStage"]}, "CreatedDate": 1,
		})
	case "AssumeRole", "AssumeRoleWithWebIdentity":
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>`+
			`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></%[1]sResult></%[1]sResponse>`,
			s.Action, RoleKeyID, RoleSecretKey, RoleToken, time.Now().Add(life).UTC().Format(time.RFC3339))
	default:
		http.Error(w, "unknown action", http.StatusNotImplemented)
	}
}

// A connListener is a net.Listener that returns connections that exist already.
type connListener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newConnListener() *connListener {
	l := &connListener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

func (l *connListener) push(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = c.Close()
	}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error   { l.close(); return nil }
func (l *connListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Environment returns env without the variables about AWS and proxies, and with those that make a
// program use the Recorder as its proxy.
func (r *Recorder) Environment(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		key, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		return strings.HasPrefix(key, "AWS_") || key == "HTTP_PROXY" || key == "HTTPS_PROXY" || key == "NO_PROXY"
	})
	return append(env, "HTTPS_PROXY="+r.URL(), "HTTP_PROXY="+r.URL(), "AWS_EC2_METADATA_DISABLED=true")
}
