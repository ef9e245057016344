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

// ErrReplicaBehind says that the first region did not answer and a fall-back
// region has an older version than this [Source] has returned before.
var ErrReplicaBehind = errors.New("replica is behind: it has an older version than was fetched before")

// An Error is what every method of a [Source] returns. It holds nothing of a
// secret's value.
type Error struct {
	Op       string // the operation of the API: "GetSecretValue", "BatchGetSecretValue"; or "sign RDS token"
	SecretID string // as it was asked for; empty if it is not a secret's id
	Region   string // that was asked; empty if it is not known
	As       string // the profile and the role of Options, for people: `role arn:…, profile "app"`; empty without
	Kind     error  // the sentinel of secretcache that applies, or nil
	Err      error  // the cause, of which errors.As finds the parts
}

// Error says what was done to which secret, and why it failed.
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

// in returns the error of a failure, nil for nil.
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

// and adds what fall-back regions said. It is in the text only: a secret that a
// replica does not have may well exist.
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

// A cause is what is kept of an error of the SDK: a text, and those parts of its
// tree that callers may match. The tree itself may hold the answer's body (the
// snapshot of one that did not parse, the buffer of the connection that
// http.Response.Body still points to) and the signed request.
type cause struct {
	text string
	errs []error

	api        smithy.APIError // the service's answer, or nil
	status     int             // of the answer; zero without one
	unreadable bool            // there was an answer, but it made no sense
	transport  bool            // the request could not be sent, or was not answered
	permanent  bool            // the same, and another attempt will not help
	final      bool            // nor will another region
	timeout    bool            // the attempt took too long
	skewed     bool            // our clock was wrong; the SDK has corrected it
}

func (c *cause) Error() string   { return c.text }
func (c *cause) Unwrap() []error { return c.errs }

// with returns a copy with another text and more errors to match; nil ones are left out.
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

// causeOf makes a cause of an error that may be kept as it is.
func causeOf(err error) *cause { return &cause{text: err.Error(), errs: []error{err}} }

// causeOfAPI makes a cause of the service's error, which is kept as it is: it must be
// a copy that cleanAPI or apiError made.
func causeOfAPI(api smithy.APIError) *cause {
	c := &cause{text: api.ErrorCode(), errs: []error{api}, api: api}
	if m := api.ErrorMessage(); m != "" {
		c.text += ": " + m
	}
	return c
}

// one returns a single error for what callers may match.
func (c *cause) one() error {
	switch len(c.errs) {
	case 0:
		return errors.New(c.text)
	case 1:
		return c.errs[0]
	}
	return errors.Join(c.errs...)
}

// code is that of the service's answer, or "".
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

// errEmptyAnswer stands for a successful answer without a secret in it.
var errEmptyAnswer = &cause{text: "answer could not be read: it names no secret", unreadable: true}

// clean returns what may be kept of an error of a call. unsent says that the
// request was not sent.
func clean(err error, unsent bool) *cause {
	var c *cause
	var op *smithy.OperationError
	isOp := errors.As(err, &op)
	if errors.As(err, &c) {
		// Our middleware has seen it. Add what the SDK found out after that.
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

// nested reports whether an operation failed because of another one: that of the
// security token service, say, which should have brought the credentials.
func nested(op *smithy.OperationError) bool { return has[*smithy.OperationError](op.Err) }

// answered reports whether an error came of a request that was sent.
func answered(err error) bool {
	return has[*smithyhttp.ResponseError](err) || has[*smithy.DeserializationError](err) || has[smithy.APIError](err) || unanswered(err)
}

// unanswered reports whether an error came of a request that could not be sent or was
// not answered.
func unanswered(err error) bool {
	return has[*smithyhttp.RequestSendError](err) || has[*smithy.CanceledError](err)
}

// cleanLocal is for errors that arose before the request was sent: of credential
// providers, the endpoint rules, the signer. They know no secret; their text says
// what to do, and is kept. (Unless it quotes an answer that a credential provider
// could not read.)
func cleanLocal(err error) *cause {
	var creds *credentialsError
	if errors.As(err, &creds) {
		err = creds // not the SDK's "get identity: get credentials: " before it
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

// quotes are how texts begin that quote a secret, and what an error has instead.
var quotes = [][2]string{
	// A service, for a wrong signature: the request, with the session token.
	{"The Canonical String", ""},
	// The SDK: what a credential_process printed, credentials but for a comma.
	{"parse failed of process output:", "the output of credential_process is not the JSON it should be"},
	// net/http: the proxy's password.
	{"invalid proxy address ", httpfetch.ErrProxy.Error()},
}

// unquoted returns a text without what it quotes, as a line.
func unquoted(text string) string {
	for _, q := range quotes {
		if before, _, ok := strings.Cut(text, q[0]); ok {
			text = before + q[1]
		}
	}
	return httpfetch.Line(strings.TrimSpace(text))
}

// cleanAnswer is for errors of a request that was sent, and of an Options.Client.
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
	case c.code() == unknownError: // the SDK's code for none
		if m := c.api.ErrorMessage(); m != unknownError && m != "" {
			return status + ": " + m
		}
		return status + ", without a reason in the answer"
	}
	return c.text
}

// cleanInner returns what may be kept of an error besides the response: what the
// service answered, or what was wrong with the answer or the connection. It returns nil
// for any other error.
func cleanInner(err error) *cause {
	var api smithy.APIError
	var de *smithy.DeserializationError
	switch {
	case errors.As(err, &api):
		return causeOfAPI(cleanAPI(api))
	case errors.As(err, &de):
		c := &cause{text: textUnreadable, unreadable: true}
		// The end of a body is not that of the connection.
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

// cleanResponse rebuilds the SDK's error of a response without its body and its
// request.
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

// cleanAPI returns a copy of a service's error. Of types that are not the
// service's only code and text are kept.
func cleanAPI(e smithy.APIError) smithy.APIError {
	return apiError(httpfetch.Line(e.ErrorCode()), unquoted(e.ErrorMessage()), e.ErrorFault())
}

// apiError makes the service's error of a code and a text.
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
