package awssmtest

import (
	"cmp"
	"slices"
	"time"
)

func (s *Server) describeSecret(in *input) (output, *apiError) {
	sec, e := s.getMarked(in)
	if e != nil {
		return nil, e
	}
	return sec.describe(in.region), nil
}

// describe returns the answer of DescribeSecret.
func (s *secret) describe(region string) output {
	out := output{
		"ARN": s.arn(region), "Name": s.name,
		"CreatedDate": epoch(s.created), "LastChangedDate": epoch(s.changed),
		"VersionIdsToStages": s.stageMap(),
	}
	for key, t := range map[string]time.Time{
		"LastAccessedDate": s.accessed, "LastRotatedDate": s.rotated, "DeletedDate": s.deleted,
		"NextRotationDate": s.nextRotation(),
	} {
		if !t.IsZero() {
			out[key] = epoch(t)
		}
	}
	for key, text := range map[string]string{"Description": s.description, "RotationLambdaARN": s.lambda, "KmsKeyId": s.kmsKey} {
		if text != "" {
			out[key] = text
		}
	}
	if !s.scheduled.IsZero() {
		out["RotationEnabled"] = s.rotation
	}
	if s.rules != nil {
		out["RotationRules"] = s.rules
	}
	if len(s.tags) > 0 {
		out["Tags"] = s.tags
	}
	if len(s.replicas) > 0 || region != s.region {
		out["PrimaryRegion"], out["ReplicationStatus"] = s.region, s.replication()
	}
	return out
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
		o := output{"VersionId": v.id, "CreatedDate": epoch(v.created), "KmsKeyIds": []string{cmp.Or(sec.kmsKey, "DefaultEncryptionKey")}}
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
	if len(sec.replicas) > 0 {
		return nil, bad("InvalidParameterException", "You can't delete secret "+sec.name+" that still has replica regions.")
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
