package agenttest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An apiError is an error of the service in the SDK's form.
type apiError interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

// transient reports whether the agent serves an expired secret in place of this error.
func transient(err error) bool {
	status, _, _ := describe(err, key{})
	return status >= 500
}

// exception returns the agent's answer for an error of the service.
func (s *Server) exception(err error, q query) *answer {
	status, name, message := describe(err, q.key)
	return &answer{status: status, body: exceptionBody(name, message, s.atLeast("2.1.0"))}
}

// describe returns the status and the exception for an error of a Source.
func describe(err error, k key) (status int, name, message string) {
	var api apiError
	var timeout net.Error
	switch {
	case errors.As(err, &api):
		status := http.StatusBadRequest
		var response interface{ HTTPStatusCode() int }
		if errors.As(err, &response) {
			status = response.HTTPStatusCode()
		}
		return status, api.ErrorCode(), api.ErrorMessage()
	case errors.Is(err, secretcache.ErrNotFound):
		return http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."
	case errors.Is(err, secretcache.ErrNoVersion) && k.version != "":
		return http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: " + k.version
	case errors.Is(err, secretcache.ErrNoVersion):
		return http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: " + k.stage
	case errors.Is(err, secretcache.ErrAccessDenied):
		return http.StatusBadRequest, "AccessDeniedException", "User is not authorized to perform: secretsmanager:GetSecretValue on resource: " + k.id
	case errors.Is(err, secretcache.ErrThrottled):
		return http.StatusBadRequest, "ThrottlingException", "Rate exceeded"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "TimeoutError", "Timeout"
	case errors.As(err, &timeout), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return http.StatusBadGateway, "ConnectionError", "Read Error"
	}
	return http.StatusInternalServerError, "InternalFailure", ""
}

// exceptionBody returns an exception as JSON. Old agents do not escape the message.
func exceptionBody(name, message string, escape bool) string {
	switch {
	case name == "InternalFailure", message == "":
		return `{"__type":"InternalFailure"}`
	case escape:
		return marshal(struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}{name, message})
	}
	return `{"__type":"` + name + `", "message":"` + message + `"}`
}

// agentBody returns a secret as JSON in the agent's form: the date is a string, and a missing
// value is left out.
func agentBody(secret *secretcache.Secret) string {
	var created *string
	if at := secret.CreatedAt(); !at.IsZero() {
		seconds := strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64)
		created = &seconds
	}
	text, blob := value(secret)
	return marshal(struct {
		ARN, Name     *string
		VersionID     *string  `json:"VersionId"`
		SecretString  *string  `json:",omitempty"`
		SecretBinary  *[]byte  `json:",omitempty"`
		VersionStages []string `json:",omitempty"`
		CreatedDate   *string
	}{known(secret.ARN()), known(secret.Name()), known(secret.VersionID()), text, blob, secret.Stages(), created})
}

// extensionBody returns a secret as JSON in the extension's form.
func extensionBody(secret *secretcache.Secret) string {
	text, blob := value(secret)
	return marshal(struct {
		ARN            string
		CreatedDate    time.Time
		Name           string
		SecretBinary   *[]byte
		SecretString   *string
		VersionID      string `json:"VersionId"`
		VersionStages  []string
		ResultMetadata struct{}
	}{secret.ARN(), secret.CreatedAt().UTC().Truncate(time.Millisecond), secret.Name(), blob, text, secret.VersionID(), secret.Stages(), struct{}{}})
}

func value(secret *secretcache.Secret) (text *string, blob *[]byte) {
	if secret.IsBinary() {
		b := secret.Bytes()
		return nil, &b
	}
	t := secret.Reveal()
	return &t, nil
}

func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen with strings, bytes and a date
	}
	return string(b)
}

// lambda answers as the extension does.
func (s *Server) lambda(r *http.Request, path, rawQuery string) *answer {
	if r.Header.Get(s.o.Headers[0]) != s.Token() {
		return &answer{status: http.StatusUnauthorized, body: "bad session token or header key",
			header: map[string]string{"Content-Type": "text/plain", "X-Amzn-Errortype": "AccessDeniedException"}}
	}
	if path != "/secretsmanager/get" {
		return &answer{status: http.StatusNotFound, body: "404 page not found\n"}
	}
	req := s.request(r, path, rawQuery)
	q := query{key: key{id: req.SecretID, version: req.VersionID, stage: req.Stage}}
	if q.id == "" {
		return bad(opaqueText)
	}
	secret, isKept, err := s.get(r.Context(), s.upstream, q)
	if err != nil {
		return bad(opaqueText)
	}
	return &answer{status: http.StatusOK, body: extensionBody(secret), kept: isKept}
}
