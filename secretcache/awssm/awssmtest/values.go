package awssmtest

import (
	"slices"
	"time"
)

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
		return nil, notSupported("InvalidParameterException", "the parameter Filters of BatchGetSecretValue")
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

// newValue returns the value in a request, or nil if it has none.
func (in *input) newValue() (value, *apiError) {
	switch {
	case in.SecretString != nil && in.SecretBinary != nil:
		return nil, bad("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret.")
	case in.SecretString != nil && *in.SecretString == "":
		return nil, bad("InvalidParameterException", "SecretString must have at least 1 character.")
	case in.SecretBinary != nil && len(in.SecretBinary) == 0:
		return nil, bad("InvalidParameterException", "SecretBinary must have at least 1 byte.")
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
	sec, e := s.make(in)
	if e != nil {
		return nil, e
	}
	if val != nil {
		_ = sec.put(in.ClientRequestToken, val, []string{current})
	}
	return sec.creation(in.region, in.ClientRequestToken), nil
}

// make makes a secret without a version.
func (s *Server) make(in *input) (*secret, *apiError) {
	sec, err := s.create(in.region, in.Name)
	if err != nil {
		return nil, bad("ValidationException", err.Error())
	}
	e := sec.setTags(in.Tags)
	if e == nil {
		e = sec.replicate(in.AddReplicaRegions)
	}
	if e != nil {
		s.forget(sec)
		return nil, e
	}
	sec.description, sec.createToken, sec.kmsKey = in.Description, in.ClientRequestToken, in.KmsKeyId
	return sec, nil
}

// creation returns the answer of CreateSecret.
func (s *secret) creation(region, token string) output {
	out := output{"ARN": s.arn(region), "Name": s.name}
	if s.version(token) != nil {
		out["VersionId"] = token
	}
	if len(s.replicas) > 0 {
		out["ReplicationStatus"] = s.replication()
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
	if in.KmsKeyId != "" {
		sec.kmsKey = in.KmsKeyId
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
