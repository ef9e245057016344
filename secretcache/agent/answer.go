package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

// decode reads an answer with a secret from either server. The servers differ in the form of
// CreatedDate, and in the fields that they leave out or write as null.
func decode(body []byte) (v secretcache.Value, ok bool) {
	var a struct {
		ARN           string
		Name          string
		VersionID     string `json:"VersionId"`
		SecretString  *string
		SecretBinary  []byte // of standard base64
		VersionStages []string
		CreatedDate   json.RawMessage
	}
	if json.Unmarshal(body, &a) != nil {
		return v, false
	}
	v = secretcache.Value{
		ARN: a.ARN, Name: a.Name, VersionID: a.VersionID, Stages: a.VersionStages,
		CreatedAt: date(a.CreatedDate), Binary: a.SecretBinary,
	}
	if a.SecretString != nil {
		v.String = *a.SecretString
	}
	return v, a.ARN != "" || a.Name != "" || a.VersionID != "" || a.SecretString != nil || a.SecretBinary != nil
}

// date reads a date: a number of seconds after 1970, such a number in a string (the agent's
// form), RFC 3339 (the extension's form), or null. For anything else it returns the zero time.
func date(raw json.RawMessage) time.Time {
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if json.Unmarshal(raw, &text) != nil {
			return time.Time{}
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e12 {
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000)))
}

// said has the plain-text answers of the servers by their beginning, and the failure for each.
// They are from the agent's server.rs and parse.rs, and from recorded answers of the
// extension. An empty beginning stands for any other answer with that status.
var said = []struct {
	status int
	begins string
	failure
}{
	{400, "not ready to serve traffic", failure{class: away, text: "it is not ready, for example in the init phase of a Lambda function"}},
	{400, "an unexpected error occurred while executing request", failure{
		text: "it could not get the secret from Secrets Manager and does not say why: the secret or the version does not exist, may not be read, or the service failed"}},
	{400, "unknown parameter: roleArn", failure{
		text: "it does not support Options.RoleARN: use an agent of version 2.1.0 or newer"}},
	{400, "unknown parameter: refreshNow", failure{
		text: "it cannot bypass its cache: use an agent of version 1.1.0 or newer", err: errors.ErrUnsupported}},
	{400, "unknown parameter", failure{text: "it does not know a parameter of the request"}},
	{400, "invalid roleArn format", failure{text: "Options.RoleARN is not the ARN of a role"}},
	{400, "invalid refreshNow value", failure{text: "it does not know this value of refreshNow"}},
	{400, "missing parameter secretId", failure{text: "it found no id of a secret in the request"}},
	{400, "missing secret ID", failure{text: "it found no id of a secret in the request"}},
	{400, "Forwarded", failure{text: "a proxy has forwarded the request, and the agent does not allow that"}},
	{401, "bad session token or header key", failure{class: badToken, text: "it does not accept the token or the name of the header"}},
	{403, "Bad Token", failure{class: badToken, text: "it does not accept the token or the name of the header"}},
	{404, "Not found", failure{text: "it does not know the path of the request: another server may be listening there"}},
	{405, "Not allowed", failure{text: "it does not allow GET: another server may be listening there"}},
	{429, "Connection limit exceeded", failure{class: busy, kind: secretcache.ErrThrottled, text: "it has more connections than it allows (max_conn)"}},
	{401, "", failure{class: badToken}},
	{403, "", failure{class: badToken}},
	{429, "", failure{class: busy, kind: secretcache.ErrThrottled}},
}

// throttling has the exceptions of Secrets Manager and of the security token service for too
// many calls.
var throttling = []string{"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}

// classify returns the failure for an answer without a secret. Its text quotes at most the
// text of an exception, and only if that does not hold the token that was sent.
func classify(status int, body []byte, token string) *failure {
	if exception, message, ok := readException(body); ok {
		f := classifyException(status, httpfetch.Line(exception), httpfetch.Line(message))
		// Check the texts before Line cuts them, because the cut may leave a part of the token.
		if strings.Contains(exception, token) || strings.Contains(message, token) {
			f.text = "an exception that quotes the token"
		}
		return f
	}
	f := &failure{status: status, text: "status " + strconv.Itoa(status)}
	for _, s := range said {
		if s.status == status && strings.HasPrefix(strings.TrimSpace(string(body)), s.begins) {
			f.class, f.kind, f.text, f.err = s.class, s.kind, cmp.Or(s.text, f.text), s.err
			return f
		}
	}
	switch {
	case status >= 500:
		f.class = broken
	case status >= 300 && status < 400:
		f.text += ", a redirect, which neither the agent nor the extension sends: another server may be listening there"
	default:
		f.text += ", for a reason that neither the agent nor the extension is known to give"
	}
	return f
}

// classifyException returns the failure for an exception of Secrets Manager, the security token
// service or the agent.
func classifyException(status int, exception, message string) *failure {
	f := &failure{status: status, text: exception}
	if message != "" {
		f.text += ": " + message
	}
	switch {
	case slices.Contains(throttling, exception):
		f.class, f.kind = busy, secretcache.ErrThrottled
	case status >= 500, exception == "InternalServiceError", exception == "InternalFailure":
		f.class = broken
	case exception == "MaxRolesExceeded":
		f.text = "it has assumed as many roles as it may (max_roles): " + f.text
	case status == http.StatusForbidden && exception == "AccessDeniedException":
		f.kind, f.text = secretcache.ErrAccessDenied, "it may not assume the role: "+f.text
	default:
		f.kind = httpfetch.Kind(exception, message)
	}
	return f
}

// readException reads an answer of the agent like {"__type":"…","message":"…"}. Agents
// before version 2.1.0 do not escape the message. It does not cut the texts.
func readException(body []byte) (name, message string, ok bool) {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &e) != nil {
		const begin, next = `{"__type":"`, `"message":"`
		text, isException := strings.CutPrefix(strings.TrimSpace(string(body)), begin)
		if !isException {
			return "", "", false
		}
		e.Type, text, _ = strings.Cut(text, `"`)
		if _, after, found := strings.Cut(text, next); found {
			e.Message = strings.TrimSuffix(after, `"}`)
		}
	}
	return e.Type, e.Message, e.Type != ""
}
