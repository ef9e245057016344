package agenttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Texts of the two servers.
const (
	notReadyText = "not ready to serve traffic, please wait"
	opaqueText   = "an unexpected error occurred while executing request"
)

// An answer is a status and a body.
type answer struct {
	status int
	body   string
	header map[string]string
	kept   bool
}

func bad(text string) *answer { return &answer{status: http.StatusBadRequest, body: text} }

// A key names a secret in the cache, by the spelling of the request.
type key struct{ role, id, version, stage string }

type kept struct {
	secret *secretcache.Secret
	at     time.Time
}

// A query has the parameters of a request.
type query struct {
	key
	refresh bool
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	path, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	w := &writer{ResponseWriter: out, s: s}
	if s.extension || path != "/ping" {
		w.request = s.request(r, path, rawQuery)
		s.note(w.request)
		if s.failed(w, r) {
			return
		}
	}
	serve := s.agent
	if s.extension {
		serve = s.lambda
	}
	a := serve(r, path, rawQuery)
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the server was killed, or the client closed the connection
	}
	w.kept = a.kept
	w.Header()["Content-Type"] = nil // the agent sends none
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// request returns what a request asks for.
func (s *Server) request(r *http.Request, path, rawQuery string) *Request {
	req := &Request{Remote: r.RemoteAddr, Time: time.Now()}
	if id, ok := strings.CutPrefix(path, s.o.PathPrefix); ok {
		req.SecretID = id
	}
	for _, p := range pairs(rawQuery) {
		switch p[0] {
		case "secretId":
			req.SecretID = p[1]
		case "versionStage":
			req.Stage = p[1]
		case "versionId":
			req.VersionID = p[1]
		case "refreshNow":
			req.Refresh, _ = parseBool(p[1])
		case "roleArn":
			req.Role = p[1]
		}
	}
	return req
}

// A writer notes the answer of a request before it sends the answer.
type writer struct {
	http.ResponseWriter
	s       *Server
	request *Request // nil for a request that Requests does not return
	kept    bool
}

func (w *writer) WriteHeader(status int) {
	if w.request != nil {
		w.s.mu.Lock()
		w.request.Status, w.request.Kept = status, w.kept
		w.s.mu.Unlock()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// agent answers as the agent does. The checks are in the agent's order.
func (s *Server) agent(r *http.Request, path, rawQuery string) *answer {
	ping := path == "/ping"
	allowed := 0
	if ping {
		allowed = 2 // health checks get two more connections
	}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && c.over > allowed {
		return &answer{status: http.StatusTooManyRequests, body: "Connection limit exceeded"}
	}
	if !ping {
		if _, ok := r.Header["X-Forwarded-For"]; ok {
			return bad("Forwarded")
		}
		token := s.Token()
		if !slices.ContainsFunc(s.o.Headers, func(h string) bool { return r.Header.Get(h) == token }) {
			return &answer{status: http.StatusForbidden, body: "Bad Token"}
		}
	}
	if r.Method != http.MethodGet {
		return &answer{status: http.StatusMethodNotAllowed, body: "Not allowed"}
	}
	var q query
	var a *answer
	switch id, isID := strings.CutPrefix(path, s.o.PathPrefix); {
	case ping:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pings++
		return &answer{status: http.StatusOK, body: "healthy"}
	case path == "/secretsmanager/get":
		if q, a = s.parse(rawQuery, ""); a == nil && q.id == "" {
			a = bad("missing parameter secretId")
		}
	case isID && id == "":
		a = bad("missing secret ID")
	case isID:
		q, a = s.parse(rawQuery, id) // the agent does not decode the path
	default:
		a = &answer{status: http.StatusNotFound, body: "Not found"}
	}
	if a != nil {
		return a
	}
	src, a := s.source(q.role)
	if a != nil {
		return a
	}
	secret, isKept, err := s.get(r.Context(), src, q)
	if err != nil {
		return s.exception(err, q)
	}
	return &answer{status: http.StatusOK, body: agentBody(secret), kept: isKept}
}

var roleARN = regexp.MustCompile(`^arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+$`)

// parse reads the parameters. id is the id in the path, or "" if the parameters name it.
func (s *Server) parse(rawQuery, id string) (query, *answer) {
	q := query{key: key{id: id}}
	for _, p := range pairs(rawQuery) {
		switch value := p[1]; {
		case p[0] == "secretId" && id == "":
			q.id = value
		case p[0] == "versionId":
			q.version = value
		case p[0] == "versionStage":
			q.stage = value
		case p[0] == "refreshNow" && s.atLeast("1.1.0"):
			refresh, ok := parseBool(value)
			if !ok {
				return q, bad("invalid refreshNow value")
			}
			q.refresh = refresh
		case p[0] == "roleArn" && s.atLeast("2.1.0"):
			if !roleARN.MatchString(value) {
				return q, bad("invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>")
			}
			q.role = value
		default:
			return q, bad("unknown parameter: " + p[0])
		}
	}
	return q, nil
}

func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// pairs decodes a query in order. As in a browser, no query is an error.
func pairs(rawQuery string) [][2]string {
	var list [][2]string
	for part := range strings.SplitSeq(rawQuery, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		list = append(list, [2]string{unescape(name), unescape(value)})
	}
	return list
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// atLeast reports whether the agent has this version or a newer one.
func (s *Server) atLeast(version string) bool {
	numbers := func(v string) (n [3]int) {
		for i, part := range strings.SplitN(v, ".", 3) {
			n[i], _ = strconv.Atoi(part)
		}
		return n
	}
	have, want := numbers(s.o.Version), numbers(version)
	return slices.Compare(have[:], want[:]) >= 0
}

// source returns the source of a role's secrets.
func (s *Server) source(role string) (secretcache.Source, *answer) {
	if role == "" {
		return s.upstream, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roles[role] && len(s.roles) >= s.o.MaxRoles {
		return nil, &answer{status: http.StatusBadRequest, body: exceptionBody("MaxRolesExceeded",
			"Maximum number of roles ("+strconv.Itoa(s.o.MaxRoles)+") exceeded", true)}
	}
	src := s.upstream
	if s.o.Roles != nil {
		src = s.o.Roles[role]
	}
	if src == nil {
		return nil, &answer{status: http.StatusForbidden, body: exceptionBody("AccessDeniedException",
			"User: arn:aws:sts::123456789012:assumed-role/app/session is not authorized to perform: sts:AssumeRole on resource: "+role, true)}
	}
	s.roles[role] = true
	return src, nil
}

// get returns a version from the cache or from src.
func (s *Server) get(ctx context.Context, src secretcache.Source, q query) (_ *secretcache.Secret, isKept bool, _ error) {
	s.mu.Lock()
	old, ok := s.kept[q.key]
	generation := s.kept
	s.mu.Unlock()
	if ok && !q.refresh && s.o.TTL > 0 && time.Since(old.at) <= s.o.TTL {
		return old.secret, true, nil
	}
	secret, err := s.fetch(ctx, src, q.key)
	switch {
	case err == nil:
	case ok && !q.refresh && !s.o.FailStale && !s.extension && transient(err):
		secret, isKept = old.secret, true
	default:
		return nil, false, err
	}
	s.mu.Lock()
	generation[q.key] = kept{secret, time.Now()}
	s.mu.Unlock()
	return secret, isKept, nil
}

// stages are tried in this order for a request that names a version but no stage.
var stages = []string{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"}

func (s *Server) fetch(ctx context.Context, src secretcache.Source, k key) (*secretcache.Secret, error) {
	in := []string{k.stage}
	if k.stage == "" {
		in = stages
		if k.version == "" {
			in = stages[:1]
		}
	}
	for _, stage := range in {
		s.mu.Lock()
		s.fetches++
		s.mu.Unlock()
		secret, err := src.Fetch(ctx, k.id, stage)
		if err != nil && (k.version == "" || !errors.Is(err, secretcache.ErrNoVersion)) {
			return nil, err
		}
		if err == nil && (k.version == "" || secret.VersionID() == k.version) {
			return secret, nil
		}
	}
	return nil, secretcache.ErrNoVersion
}
