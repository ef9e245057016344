package awssmtest

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"slices"
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

// An apiError is an error as the service answers it.
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

// tooLong is the text of the service's model validation.
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
	Filters             []any
	IncludeDeprecated   bool

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

// operations are those that the server has. They are called with mu held.
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
}

// ServeHTTP answers one request of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/x-amz-json-1.1")
	h.Set("X-Amzn-Requestid", newUUID())

	op, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	call, known := operations[op]
	if !known {
		op = ""
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		answer(w, nil, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "the request is too large"})
		return
	}
	var in input
	invalid := json.Unmarshal(body, &in) != nil
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
		answer(w, nil, bad("UnknownOperationException", ""))
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
	aerr := bad("SerializationException", "")
	if !invalid {
		s.mu.Lock()
		out, aerr = call(s, &in)
		s.mu.Unlock()
	}
	if f.kind == faultTruncate {
		w = truncated{w}
	}
	answer(w, out, aerr)
}

// answer writes an answer or an error. The service names the error in the body; some
// stand in front of it and name it in the header too.
func answer(w http.ResponseWriter, out output, e *apiError) {
	status := http.StatusOK
	if e != nil {
		status = e.status
		out = output{"__type": e.code}
		if e.text != "" {
			// The service's own exceptions have a Message, those of the front a message.
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
		panic(err) // out is made of what JSON can say
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

// signedFor returns the region of the request's signature, of the form
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

// epoch is how AWS JSON writes a time: seconds, here with milliseconds.
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

func (s *Server) getSecretValue(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	var v *version
	if in.VersionId != "" {
		if v = sec.version(in.VersionId); v == nil || v.value == nil {
			return nil, noVersion("VersionId: " + in.VersionId)
		}
		if in.VersionStage != "" && !slices.Contains(v.stages, in.VersionStage) {
			return nil, bad("InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
		}
	} else {
		stage := in.VersionStage
		if stage == "" {
			stage = current
		}
		if v = sec.holder(stage); v == nil || v.value == nil {
			return nil, noVersion("staging label: " + stage)
		}
	}
	v.accessed = time.Now()
	sec.accessed = v.accessed
	out := output{
		"ARN": sec.arn(in.region), "Name": sec.name,
		"VersionId": v.id, "CreatedDate": epoch(v.created),
	}
	if len(v.stages) > 0 {
		out["VersionStages"] = slices.Clone(v.stages)
	}
	if s, b := v.value(); b != nil {
		out["SecretBinary"] = b
	} else {
		out["SecretString"] = s
	}
	return out, nil
}

func (s *Server) batchGetSecretValue(in *input) (output, *apiError) {
	switch {
	case len(in.Filters) > 0:
		return nil, bad("InvalidParameterException", "awssmtest: BatchGetSecretValue with Filters is not implemented")
	case len(in.SecretIdList) == 0:
		return nil, bad("InvalidParameterException", "You must provide either SecretIdList or Filters.")
	case len(in.SecretIdList) > 20:
		return nil, tooLong("secretIdList", "20")
	}
	values, errs := []output{}, []output{}
	for _, id := range in.SecretIdList {
		one := input{SecretId: id, region: in.region}
		out, e := output(nil), s.secretFault(in.region, id)
		if e == nil {
			out, e = s.getSecretValue(&one)
		}
		if e != nil {
			errs = append(errs, output{"SecretId": id, "ErrorCode": e.code, "Message": e.text})
		} else if !slices.ContainsFunc(values, func(o output) bool { return o["ARN"] == out["ARN"] }) {
			values = append(values, out)
		}
	}
	return output{"SecretValues": values, "Errors": errs}, nil
}

// newValue returns the value of a request; nil if it has none.
func (in *input) newValue() (value, *apiError) {
	switch {
	case in.SecretString != nil && in.SecretBinary != nil:
		return nil, bad("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret.")
	case in.SecretString != nil && len(*in.SecretString) > maxValue:
		return nil, tooLong("secretString", "65536")
	case len(in.SecretBinary) > maxValue:
		return nil, tooLong("secretBinary", "65536")
	case in.SecretString != nil:
		return text(*in.SecretString), nil
	case in.SecretBinary != nil:
		return binary(in.SecretBinary), nil
	}
	return nil, nil
}

func (s *Server) createSecret(in *input) (output, *apiError) {
	if !validName(in.Name) {
		return nil, bad("ValidationException", invalidNameText)
	}
	if in.ClientRequestToken == "" {
		return nil, bad("InvalidRequestException", noTokenText)
	}
	val, e := in.newValue()
	if e != nil {
		return nil, e
	}
	if sec, err := s.find(in.region, in.Name); err == nil {
		if sec.marked() {
			return nil, bad("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
		}
		old := sec.version(in.ClientRequestToken)
		if sec.createToken == in.ClientRequestToken && (val == nil) == (old == nil) && (val == nil || old.value.equal(val)) {
			return sec.creation(in.region, in.ClientRequestToken), nil
		}
		return nil, bad("ResourceExistsException", "The operation failed because the secret "+in.Name+" already exists.")
	}
	sec, err := s.create(in.region, in.Name)
	if err != nil {
		return nil, bad("ValidationException", err.Error())
	}
	sec.description, sec.createToken = in.Description, in.ClientRequestToken
	if val != nil {
		_ = sec.put(in.ClientRequestToken, val, []string{current})
	}
	return sec.creation(in.region, in.ClientRequestToken), nil
}

// creation is the answer of CreateSecret.
func (s *secret) creation(region, token string) output {
	out := output{"ARN": s.arn(region), "Name": s.name}
	if s.version(token) != nil {
		out["VersionId"] = token
	}
	return out
}

func (s *Server) putSecretValue(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	if in.ClientRequestToken == "" {
		return nil, bad("InvalidRequestException", noTokenText)
	}
	val, e := in.newValue()
	if e != nil {
		return nil, e
	}
	if val == nil {
		return nil, bad("InvalidRequestException", "You must provide either SecretString or SecretBinary.")
	}
	stages := slices.Clone(in.VersionStages)
	if len(stages) > maxStages {
		return nil, tooLong("versionStages", "20")
	}
	// "If this operation creates the first version for the secret, then Secrets
	// Manager automatically attaches the staging label AWSCURRENT to it." (API reference)
	if len(stages) == 0 || len(sec.versions) == 0 && !slices.Contains(stages, current) {
		stages = append(stages, current)
	}
	if old := sec.version(in.ClientRequestToken); old != nil && old.value != nil {
		if !old.value.equal(val) {
			return nil, bad("ResourceExistsException", "You can't use ClientRequestToken "+in.ClientRequestToken+
				" because that value is already in use for a version of secret "+sec.arn(in.region)+".")
		}
	} else if err := sec.put(in.ClientRequestToken, val, stages); err != nil {
		return nil, bad("LimitExceededException", err.Error())
	}
	return output{
		"ARN": sec.arn(in.region), "Name": sec.name, "VersionId": in.ClientRequestToken,
		"VersionStages": slices.Clone(sec.version(in.ClientRequestToken).stages),
	}, nil
}

func (s *Server) updateSecret(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	out := output{"ARN": sec.arn(in.region), "Name": sec.name}
	if in.Description != "" {
		sec.description = in.Description
	}
	if in.SecretString == nil && in.SecretBinary == nil {
		return out, nil
	}
	in.VersionStages = nil
	put, e := s.putSecretValue(in)
	if e != nil {
		return nil, e
	}
	out["VersionId"] = put["VersionId"]
	return out, nil
}

func (s *Server) describeSecret(in *input) (output, *apiError) {
	sec, e := s.getMarked(in)
	if e != nil {
		return nil, e
	}
	out := output{
		"ARN": sec.arn(in.region), "Name": sec.name,
		"CreatedDate": epoch(sec.created), "LastChangedDate": epoch(sec.changed),
		"VersionIdsToStages": sec.stageMap(),
	}
	for key, t := range map[string]time.Time{
		"LastAccessedDate": sec.accessed, "LastRotatedDate": sec.rotated, "DeletedDate": sec.deleted,
	} {
		if !t.IsZero() {
			out[key] = epoch(t)
		}
	}
	if sec.description != "" {
		out["Description"] = sec.description
	}
	if sec.rotation {
		out["RotationEnabled"] = true
	}
	if sec.lambda != "" {
		out["RotationLambdaARN"] = sec.lambda
	}
	if sec.rules != nil {
		out["RotationRules"] = sec.rules
	}
	return out, nil
}

func (s *Server) listSecretVersionIDs(in *input) (output, *apiError) {
	sec, e := s.getMarked(in)
	if e != nil {
		return nil, e
	}
	list := []output{}
	for _, v := range sec.versions {
		if len(v.stages) == 0 && !in.IncludeDeprecated {
			continue
		}
		o := output{"VersionId": v.id, "CreatedDate": epoch(v.created), "KmsKeyIds": []string{"DefaultEncryptionKey"}}
		if len(v.stages) > 0 {
			o["VersionStages"] = slices.Clone(v.stages)
		}
		if !v.accessed.IsZero() {
			o["LastAccessedDate"] = epoch(v.accessed)
		}
		list = append(list, o)
	}
	return output{"ARN": sec.arn(in.region), "Name": sec.name, "Versions": list}, nil
}

func (s *Server) updateSecretVersionStage(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	if in.VersionStage == "" || in.MoveToVersionId == nil && in.RemoveFromVersionId == nil {
		return nil, bad("InvalidParameterException", "You must specify a VersionStage, and MoveToVersionId or RemoveFromVersionId.")
	}
	var to, from *version
	if in.MoveToVersionId != nil {
		if to = sec.version(*in.MoveToVersionId); to == nil {
			return nil, bad("ResourceNotFoundException", "Secrets Manager can't find the specified secret version: "+*in.MoveToVersionId)
		}
	}
	if in.RemoveFromVersionId != nil {
		if from = sec.version(*in.RemoveFromVersionId); from == nil {
			return nil, bad("ResourceNotFoundException", "Secrets Manager can't find the specified secret version: "+*in.RemoveFromVersionId)
		}
	}
	holder := sec.holder(in.VersionStage)
	switch {
	case to == nil && in.VersionStage == current:
		return nil, bad("InvalidParameterException", "You can only move staging label AWSCURRENT to a different secret version. It can’t be completely removed.")
	case from == nil && holder != nil && holder != to:
		return nil, bad("InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label "+in.VersionStage+
			" is currently attached to version "+holder.id+", so you must explicitly reference that version in RemoveFromVersionId.")
	case from != nil && from != holder:
		return nil, bad("InvalidParameterException", "When you move staging label "+in.VersionStage+
			", if you specify RemoveFromVersionId, it must be set to the version that currently has the staging label "+in.VersionStage+".")
	}
	if err := sec.move(in.VersionStage, to); err != nil {
		return nil, bad("LimitExceededException", err.Error())
	}
	return output{"ARN": sec.arn(in.region), "Name": sec.name}, nil
}

func (s *Server) deleteSecret(in *input) (output, *apiError) {
	days := 30
	if in.RecoveryWindowInDays != nil {
		days = *in.RecoveryWindowInDays
		if in.ForceDeleteWithoutRecovery {
			return nil, bad("InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
		}
		if days < 7 || days > 30 {
			return nil, bad("InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
		}
	}
	sec, e := s.getMarked(in)
	if in.ForceDeleteWithoutRecovery {
		if e != nil {
			if e.code != "ResourceNotFoundException" {
				return nil, e
			}
			return output{"Name": in.SecretId, "DeletionDate": epoch(time.Now())}, nil
		}
		s.forget(sec)
		return output{"ARN": sec.arn(in.region), "Name": sec.name, "DeletionDate": epoch(time.Now())}, nil
	}
	if e != nil {
		return nil, e
	}
	if sec.marked() {
		return nil, marked()
	}
	sec.deleted, sec.deleteAt = time.Now(), time.Now().AddDate(0, 0, days)
	return output{"ARN": sec.arn(in.region), "Name": sec.name, "DeletionDate": epoch(sec.deleteAt)}, nil
}

func (s *Server) restoreSecret(in *input) (output, *apiError) {
	sec, e := s.getMarked(in)
	if e != nil {
		return nil, e
	}
	sec.deleted, sec.deleteAt = time.Time{}, time.Time{}
	return output{"ARN": sec.arn(in.region), "Name": sec.name}, nil
}

const (
	lower       = "abcdefghijklmnopqrstuvwxyz"
	upper       = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters     = lower + upper
	digits      = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

func (s *Server) getRandomPassword(in *input) (output, *apiError) {
	length := 32
	if in.PasswordLength != nil {
		length = *in.PasswordLength
	}
	var sets []string
	for _, c := range []struct {
		use   bool
		chars string
	}{
		{!in.ExcludeLowercase, lower},
		{!in.ExcludeUppercase, upper},
		{!in.ExcludeNumbers, digits},
		{!in.ExcludePunctuation, punctuation},
		{in.IncludeSpace, " "},
	} {
		chars := strings.Map(func(r rune) rune {
			if strings.ContainsRune(in.ExcludeCharacters, r) {
				return -1
			}
			return r
		}, c.chars)
		if c.use && chars != "" {
			sets = append(sets, chars)
		}
	}
	each := in.RequireEachIncludedType == nil || *in.RequireEachIncludedType
	switch {
	case length < 1 || length > 4096:
		return nil, tooLong("passwordLength", "4096")
	case len(sets) == 0 || each && length < len(sets):
		return nil, bad("InvalidParameterException", "Password length is too short based on the required types.")
	}
	var b []byte
	if each {
		for _, set := range sets {
			b = append(b, pickChars(set, 1)...)
		}
	}
	b = append(b, pickChars(strings.Join(sets, ""), length-len(b))...)
	for i := range b {
		j := randN(i + 1)
		b[i], b[j] = b[j], b[i]
	}
	return output{"RandomPassword": string(b)}, nil
}

func pickChars(set string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = set[randN(len(set))]
	}
	return string(b)
}

func randN(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // never
	}
	return int(i.Int64())
}
