package awssm

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

// ErrReplicaBehind says that the first region did not answer, and that a fall-back region has
// an older version than this [Source] has returned before.
var ErrReplicaBehind = errors.New("replica is behind: it has an older version than was fetched before")

// An Error is the error of every method of a [Source]. It holds no part of a secret's value.
type Error struct {
	Op       string // the operation of the API: "GetSecretValue", "BatchGetSecretValue", "GetCallerIdentity"; or "sign RDS token"
	SecretID string // as the caller asked for it; empty if it is not a secret's id
	Region   string // the region that was asked; empty if it is not known
	As       string // the role and the profile of Options, for people: `role arn:…, profile "app"`; empty if neither is set
	Kind     error  // the sentinel of package secretcache that applies, or nil
	Err      error  // the cause; errors.As finds the errors in it
}

// Error returns the operation, the secret, the region, and why the operation failed.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.SecretID != "" {
		b.WriteString(" " + strconv.Quote(e.SecretID))
	}
	if e.Region != "" {
		b.WriteString(" in " + e.Region)
	}
	if e.As != "" {
		b.WriteString(" with " + e.As)
	}
	b.WriteString(": " + e.reason())
	return b.String()
}

func (e *Error) reason() string {
	switch {
	case e.Kind == nil:
		return e.Err.Error()
	case e.Err == nil:
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Err.Error()
}

// Unwrap returns the sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Err}
	}
	return []error{e.Kind, e.Err}
}

// in returns the error for a failure, or nil if f is nil.
func (f *failure) in(s *Source, op, id, region string) *Error {
	if f == nil {
		return nil
	}
	if secretid.Check(id) != nil {
		id = ""
	}
	c := f.cause
	switch {
	case f.prev != nil:
		c = c.with(c.text+"; before that: "+f.prev.reason(), f.prev.kind, f.prev.cause)
	case f.attempts > 1 && f.class != ended:
		c = c.with(c.text + " (" + strconv.Itoa(f.attempts) + " attempts)")
	}
	return &Error{Op: op, SecretID: id, Region: region, As: s.o.as(), Kind: f.kind, Err: c}
}

func (f *failure) reason() string {
	if f.kind != nil {
		return f.kind.Error() + ": " + f.cause.text
	}
	return f.cause.text
}

// and adds the errors of fall-back regions to the text. errors.Is does not match them, except
// ErrReplicaBehind: a secret may exist even if a replica does not have it.
func (e *Error) and(others []*Error) *Error {
	c, ok := e.Err.(*cause)
	if !ok || len(others) == 0 {
		return e
	}
	text := c.text
	var keep error
	for _, o := range others {
		text += "; in " + o.Region + ": " + o.reason()
		if errors.Is(o, ErrReplicaBehind) {
			keep = ErrReplicaBehind
		}
	}
	e.Err = c.with(text, keep)
	return e
}

// A cause is the part of an SDK's error that is kept: a text, and the errors in its tree that
// callers may match. The tree itself is dropped, because it may hold the signed request and
// the body of the answer: a snapshot of a body that did not parse, or the connection's buffer
// that http.Response.Body still points to.
type cause struct {
	text string
	errs []error

	api        smithy.APIError // the service's answer, or nil
	status     int             // of the answer; zero without one
	unreadable bool            // there was an answer, but it could not be read
	transport  bool            // the request could not be sent, or was not answered
	permanent  bool            // transport, and another attempt will not help
	final      bool            // transport, and neither another attempt nor another region will help
	timeout    bool            // the attempt took too long
	skewed     bool            // our clock was wrong; the SDK has corrected it
}

func (c *cause) Error() string   { return c.text }
func (c *cause) Unwrap() []error { return c.errs }

// with returns a copy of c with another text and more errors to match. It skips nil errors.
func (c *cause) with(text string, more ...error) *cause {
	d := *c
	d.text = text
	d.errs = slices.Clone(c.errs)
	for _, err := range more {
		if err != nil {
			d.errs = append(d.errs, err)
		}
	}
	return &d
}

// causeOf makes a cause of an error that holds no answer.
func causeOf(err error) *cause { return &cause{text: err.Error(), errs: []error{err}} }

// causeOfAPI makes a cause of the service's error. api must be a copy that cleanAPI or
// apiError made.
func causeOfAPI(api smithy.APIError) *cause {
	c := &cause{text: api.ErrorCode(), errs: []error{api}, api: api}
	if m := api.ErrorMessage(); m != "" {
		c.text += ": " + m
	}
	return c
}

// one returns a single error that wraps all errors that callers may match.
func (c *cause) one() error {
	switch len(c.errs) {
	case 0:
		return errors.New(c.text)
	case 1:
		return c.errs[0]
	}
	return errors.Join(c.errs...)
}

// code returns the error code of the service's answer, or "".
func (c *cause) code() string {
	if c.api == nil {
		return ""
	}
	return c.api.ErrorCode()
}

func (c *cause) throttled() bool {
	_, ok := retry.DefaultThrottleErrorCodes[c.code()]
	return ok || c.status == http.StatusTooManyRequests
}

// errEmptyAnswer is the error for a successful answer that has no secret in it.
var errEmptyAnswer = &cause{text: "answer could not be read: it has no secret", unreadable: true}

// clean returns the cause of an error of a call. unsent says that the request was not sent.
func clean(err error, unsent bool) *cause {
	var c *cause
	var op *smithy.OperationError
	isOp := errors.As(err, &op)
	if errors.As(err, &c) {
		// Our middleware has cleaned it. Add what the SDK found out after that.
		c = c.with(c.text)
	} else if isOp && (unsent || nested(op) || !answered(op.Err)) {
		c = cleanLocal(op.Err)
	} else {
		c = cleanAnswer(err)
	}
	var again interface{ RetryableError() bool }
	c.skewed = errors.As(err, &again) && again.RetryableError()
	if isOp {
		c.errs = []error{&smithy.OperationError{ServiceID: op.ServiceID, OperationName: op.OperationName, Err: c.one()}}
	}
	return c
}

// has reports whether err's tree has a T.
func has[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// nested reports whether an operation failed because of another operation, for example a call
// of the security token service for credentials.
func nested(op *smithy.OperationError) bool { return has[*smithy.OperationError](op.Err) }

// answered reports whether an error is about a request that the SDK sent or tried to send.
func answered(err error) bool {
	return has[*smithyhttp.ResponseError](err) || has[*smithy.DeserializationError](err) || has[smithy.APIError](err) || unanswered(err)
}

// unanswered reports whether an error is about a request that could not be sent or was not
// answered.
func unanswered(err error) bool {
	return has[*smithyhttp.RequestSendError](err) || has[*smithy.CanceledError](err)
}

// cleanLocal returns the cause of an error that came before the request was sent: from a
// credential provider, the endpoint rules or the signer. None of them knows a secret, and
// their text says what to do, so the text is kept. The text is replaced if it quotes an answer
// that a credential provider could not read.
func cleanLocal(err error) *cause {
	var creds *credentialsError
	if errors.As(err, &creds) {
		err = creds // drops the SDK's prefix "get identity: get credentials: "
	}
	c := &cause{text: unquoted(err.Error())}
	if has[*smithy.DeserializationError](err) {
		c.text = "the answer to a request for credentials could not be read"
		if creds != nil {
			c.text = creds.phase + ": " + c.text
		}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		c.errs = append(c.errs, cleanAPI(api))
	}
	if t := httpfetch.Transport(err); t != nil {
		c.errs = append(c.errs, t)
	}
	return c
}

// quotes has the beginnings of texts that quote a secret, and their replacements.
var quotes = [][2]string{
	// A service quotes the request, with the session token, after a wrong signature.
	{"The Canonical String", ""},
	// The SDK quotes the output of a credential_process, which may be credentials with a typo.
	{"parse failed of process output:", "the output of credential_process is not valid JSON"},
	// net/http quotes the proxy's password.
	{"invalid proxy address ", httpfetch.ErrProxy.Error()},
}

// unquoted returns the text as one line, without the secrets that it quotes.
func unquoted(text string) string {
	for _, q := range quotes {
		if before, _, ok := strings.Cut(text, q[0]); ok {
			text = before + q[1]
		}
	}
	return httpfetch.Line(strings.TrimSpace(text))
}

// cleanAnswer returns the cause of an error of a request that was sent, or of an
// Options.Client.
func cleanAnswer(err error) *cause {
	c := cleanInner(err)
	var re *smithyhttp.ResponseError
	if !errors.As(err, &re) || re.Response == nil || re.Response.Response == nil || re.Response.StatusCode == 0 {
		if c == nil {
			return causeOf(err) // a Client's own error
		}
		return c
	}
	if c == nil {
		c = &cause{text: textUnreadable, unreadable: true}
	}
	c.status = re.Response.StatusCode
	c.text = c.withStatus()
	c.errs = []error{cleanResponse(err, re.Response.Response, c.one())}
	return c
}

const (
	textUnreadable = "answer could not be read"
	unknownError   = "UnknownError"
)

// withStatus returns the text of an answer with its status, unless the service gave a reason.
func (c *cause) withStatus() string {
	status := "status " + httpfetch.Status(c.status)
	switch {
	case c.status < 300:
	case c.status < 400:
		return status + ": a redirect, which AWS does not send: is the endpoint right?"
	case c.api == nil:
		return status + ", " + c.text
	case c.code() == unknownError: // the SDK's code for an answer without a code
		if m := c.api.ErrorMessage(); m != unknownError && m != "" {
			return status + ": " + m
		}
		return status + ", without a reason in the answer"
	}
	return c.text
}

// cleanInner returns the cause of an error without its response: the service's error, or what
// was wrong with the answer or the connection. It returns nil for any other error.
func cleanInner(err error) *cause {
	var api smithy.APIError
	var de *smithy.DeserializationError
	switch {
	case errors.As(err, &api):
		return causeOfAPI(cleanAPI(api))
	case errors.As(err, &de):
		c := &cause{text: textUnreadable, unreadable: true}
		// An end of the body is not an end of the connection.
		if t := httpfetch.Transport(de.Err); t != nil && !errors.Is(t, httpfetch.ErrNoAnswer) {
			c = c.with(c.text+": "+t.Error(), t)
		}
		return c
	case unanswered(err):
		c := &cause{text: "request could not be sent or was not answered", transport: true}
		if t := httpfetch.Transport(err); t != nil {
			c = c.with(t.Error(), t)
			c.permanent, c.final = httpfetch.Permanent(t), httpfetch.Final(t)
		}
		return c
	}
	return nil
}

// cleanResponse rebuilds the SDK's error for a response, without the body and the request.
func cleanResponse(err error, from *http.Response, inner error) error {
	r := &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{
			Status: strconv.Itoa(from.StatusCode) + " " + http.StatusText(from.StatusCode), StatusCode: from.StatusCode,
			Proto: from.Proto, ProtoMajor: from.ProtoMajor, ProtoMinor: from.ProtoMinor,
			Header: http.Header{}, Body: http.NoBody,
		}},
		Err: inner,
	}
	for _, h := range []string{"Date", "Content-Type", "Retry-After", "X-Amzn-Requestid"} {
		if v := from.Header.Get(h); v != "" {
			r.Response.Header.Set(h, httpfetch.Line(v))
		}
	}
	var are *awshttp.ResponseError
	if errors.As(err, &are) {
		return &awshttp.ResponseError{ResponseError: r, RequestID: httpfetch.Line(are.RequestID)}
	}
	return r
}

// cleanAPI returns a copy of a service's error. Of a type that is not one of Secrets
// Manager's, only the code and the text are kept.
func cleanAPI(e smithy.APIError) smithy.APIError {
	return apiError(httpfetch.Line(e.ErrorCode()), unquoted(e.ErrorMessage()), e.ErrorFault())
}

// apiError makes the service's error from a code and a text.
func apiError(code, text string, fault smithy.ErrorFault) smithy.APIError {
	switch code {
	case "DecryptionFailure":
		return &types.DecryptionFailure{Message: &text}
	case "InternalServiceError":
		return &types.InternalServiceError{Message: &text}
	case "InvalidNextTokenException":
		return &types.InvalidNextTokenException{Message: &text}
	case "InvalidParameterException":
		return &types.InvalidParameterException{Message: &text}
	case "InvalidRequestException":
		return &types.InvalidRequestException{Message: &text}
	case "LimitExceededException":
		return &types.LimitExceededException{Message: &text}
	case "ResourceNotFoundException":
		return &types.ResourceNotFoundException{Message: &text}
	}
	return &smithy.GenericAPIError{Code: code, Message: text, Fault: fault}
}
