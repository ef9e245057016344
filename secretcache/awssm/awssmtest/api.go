package awssmtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	opGet   = "GetSecretValue"
	opBatch = "BatchGetSecretValue"

	markedText      = "You can't perform this operation on the secret because it was marked for deletion."
	invalidNameText = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
	noTokenText     = "You must provide a ClientRequestToken value. We recommend a UUID-type value."
)

// An apiError is an error that the service answers.
type apiError struct {
	status     int
	code, text string
}

func bad(code, text string) *apiError { return &apiError{http.StatusBadRequest, code, text} }

func notFound() *apiError {
	return bad("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

func noVersion(what string) *apiError {
	return bad("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for "+what)
}

func marked() *apiError { return bad("InvalidRequestException", markedText) }

// tooLong returns the error of the service's model validation.
func tooLong(field, most string) *apiError {
	return bad("ValidationException", "1 validation error detected: Value at '"+field+
		"' failed to satisfy constraint: Member must have length less than or equal to "+most)
}

// An input has the parameters of all operations.
type input struct {
	SecretId            string
	Name                string
	Description         string
	VersionId           string
	VersionStage        string
	VersionStages       []string
	SecretString        *string
	SecretBinary        []byte
	ClientRequestToken  string
	MoveToVersionId     *string
	RemoveFromVersionId *string
	SecretIdList        []string
	Filters             []filter
	IncludeDeprecated   bool

	IncludePlannedDeletion bool
	MaxResults             *int
	NextToken              string
	SortOrder              string

	KmsKeyId                    string
	Tags                        []tag
	TagKeys                     []string
	AddReplicaRegions           []replica
	RemoveReplicaRegions        []string
	ForceOverwriteReplicaSecret bool // no effect: there is never a replica to overwrite

	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool

	RotationLambdaARN string
	RotationRules     map[string]any
	RotateImmediately *bool

	PasswordLength          *int
	ExcludeCharacters       string
	ExcludeLowercase        bool
	ExcludeUppercase        bool
	ExcludeNumbers          bool
	ExcludePunctuation      bool
	IncludeSpace            bool
	RequireEachIncludedType *bool

	region string
}

type output map[string]any

// check returns an error if a parameter is shorter or longer than the API reference allows.
func (in *input) check() *apiError {
	if n := len(in.ClientRequestToken); n != 0 && (n < 32 || n > 64) {
		return bad("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
	}
	for _, stage := range append(in.VersionStages, in.VersionStage) {
		if len(stage) > 256 {
			return tooLong("versionStage", "256")
		}
	}
	if slices.Contains(in.VersionStages, "") {
		return bad("InvalidParameterException", "A VersionStage must have at least 1 character.")
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{
		{"secretId", in.SecretId, 2048}, {"description", in.Description, 2048}, {"kmsKeyId", in.KmsKeyId, 2048},
		{"excludeCharacters", in.ExcludeCharacters, 4096}, {"rotationLambdaARN", in.RotationLambdaARN, 2048},
	} {
		if len(f.value) > f.most {
			return tooLong(f.name, strconv.Itoa(f.most))
		}
	}
	return nil
}

// read reads the parameters of an operation.
func (in *input) read(op string, body []byte) *apiError {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	switch err := d.Decode(in); {
	case err == nil:
		return in.check()
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return notSupported("InvalidParameterException", "the parameter"+strings.TrimPrefix(err.Error(), "json: unknown field")+" of "+op)
	}
	return bad("SerializationException", "")
}

// notSupported returns the error for an operation, parameter or filter that this server lacks.
func notSupported(code, what string) *apiError {
	return bad(code, "awssmtest, the test server, does not have "+what+".")
}

// changes are the operations that fail on a replica.
var changes = strings.Fields(`PutSecretValue UpdateSecret UpdateSecretVersionStage RotateSecret CancelRotateSecret
	DeleteSecret RestoreSecret TagResource UntagResource ReplicateSecretToRegions RemoveRegionsFromReplication`)

// operations has all operations of the server. They are called with mu held.
var operations = map[string]func(*Server, *input) (output, *apiError){
	opGet:                      (*Server).getSecretValue,
	opBatch:                    (*Server).batchGetSecretValue,
	"CreateSecret":             (*Server).createSecret,
	"PutSecretValue":           (*Server).putSecretValue,
	"UpdateSecret":             (*Server).updateSecret,
	"DescribeSecret":           (*Server).describeSecret,
	"ListSecretVersionIds":     (*Server).listSecretVersionIDs,
	"UpdateSecretVersionStage": (*Server).updateSecretVersionStage,
	"RotateSecret":             (*Server).rotateSecret,
	"CancelRotateSecret":       (*Server).cancelRotateSecret,
	"DeleteSecret":             (*Server).deleteSecret,
	"RestoreSecret":            (*Server).restoreSecret,
	"GetRandomPassword":        (*Server).getRandomPassword,
	"ListSecrets":              (*Server).listSecrets,
	"TagResource":              (*Server).tagResource,
	"UntagResource":            (*Server).untagResource,

	"ReplicateSecretToRegions":     (*Server).replicateSecretToRegions,
	"RemoveRegionsFromReplication": (*Server).removeRegionsFromReplication,
}

// ServeHTTP answers one request of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/x-amz-json-1.1")
	h.Set("X-Amzn-Requestid", newUUID())

	target, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	op := target
	_, known := operations[op]
	if !known {
		op = ""
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		answer(w, nil, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "the request is too large"})
		return
	}
	var in input
	wrong := in.read(op, body)
	region, authErr := signedFor(r)
	in.region = region

	req := Request{
		Op: op, Stage: in.VersionStage, Region: region,
		UserAgent: r.UserAgent(), Remote: r.RemoteAddr, Time: time.Now(),
	}
	if op == opBatch {
		req.SecretIDs = in.SecretIdList
	} else if in.SecretId != "" {
		req.SecretIDs = []string{in.SecretId}
	}
	if op == opGet && req.Stage == "" {
		req.Stage = current
	}
	s.note(req)

	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/" || !known:
		answer(w, nil, notSupported("UnknownOperationException", "the operation "+strconv.Quote(target)))
		return
	case authErr != nil:
		answer(w, nil, authErr)
		return
	}

	delay, f, healed := s.next(&req)
	if delay > 0 && !s.wait(r, delay, healed) {
		panic(http.ErrAbortHandler)
	}
	switch f.kind {
	case faultHang:
		s.wait(r, -1, healed)
		panic(http.ErrAbortHandler)
	case faultClose:
		panic(http.ErrAbortHandler)
	case faultError:
		answer(w, nil, f.apiError(op, in.SecretId))
		return
	case faultAnswer:
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
		return
	}

	var out output
	if wrong == nil {
		out, wrong = s.call(op, &in)
	}
	if f.kind == faultTruncate {
		w = truncated{w}
	}
	answer(w, out, wrong)
}

// call executes an operation.
func (s *Server) call(op string, in *input) (output, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(changes, op) {
		if e := s.writable(in); e != nil {
			return nil, e
		}
	}
	return operations[op](s, in)
}

// answer writes an answer or an error. The service names the error in the body. A server in
// front of the service may also name it in the header, so answer does both.
func answer(w http.ResponseWriter, out output, e *apiError) {
	status := http.StatusOK
	if e != nil {
		status = e.status
		out = output{"__type": e.code}
		if e.text != "" {
			// The service's own exceptions have the key Message, those of the server in front
			// of it the key message.
			key := "Message"
			switch e.code {
			case "AccessDeniedException", "ThrottlingException", "ValidationException",
				"MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidSignatureException":
				key = "message"
			}
			out[key] = e.text
		}
		w.Header().Set("X-Amzn-Errortype", e.code)
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic(err) // cannot happen: JSON can write all that is in out
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// truncated writes half an answer and closes the connection.
type truncated struct{ http.ResponseWriter }

func (t truncated) Write(b []byte) (int, error) {
	_, _ = t.ResponseWriter.Write(b[:len(b)/2])
	if f, ok := t.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// signedFor returns the region in the request's signature, which has the form
//
//	AWS4-HMAC-SHA256 Credential=AKID/20250102/us-west-2/secretsmanager/aws4_request, SignedHeaders=…, Signature=…
func signedFor(r *http.Request) (region string, e *apiError) {
	auth := r.Header.Get("Authorization")
	if auth == "" {
		return "", bad("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	params, ok := strings.CutPrefix(auth, "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", bad("IncompleteSignatureException", "Authorization header requires AWS Signature Version 4.")
	}
	var scope []string
	has := map[string]bool{}
	for p := range strings.SplitSeq(params, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		has[key] = value != ""
		if key == "Credential" {
			scope = strings.Split(value, "/")
		}
	}
	if !has["SignedHeaders"] || !has["Signature"] || len(scope) != 5 {
		return "", bad("IncompleteSignatureException", "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.")
	}
	if scope[3] != "secretsmanager" {
		return "", bad("InvalidSignatureException", "Credential should be scoped to correct service: 'secretsmanager'.")
	}
	return scope[2], nil
}

// epoch returns a time as AWS JSON writes it: in seconds, here with milliseconds.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// get finds a secret that is not marked for deletion.
func (s *Server) get(in *input) (*secret, *apiError) {
	sec, e := s.getMarked(in)
	if e == nil && sec.marked() {
		return nil, marked()
	}
	return sec, e
}

func (s *Server) getMarked(in *input) (*secret, *apiError) {
	if in.SecretId == "" {
		return nil, bad("ValidationException", "1 validation error detected: Value null at 'secretId' failed to satisfy constraint: Member must not be null")
	}
	if !strings.HasPrefix(in.SecretId, "arn:") && !validName(in.SecretId) {
		return nil, bad("ValidationException", invalidNameText)
	}
	sec, err := s.find(in.region, in.SecretId)
	if err != nil {
		return nil, notFound()
	}
	return sec, nil
}
