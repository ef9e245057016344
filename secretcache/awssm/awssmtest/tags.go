package awssmtest

import (
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
)

// A tag is a tag of a secret. The field names are those of the API.
type tag struct{ Key, Value string }

// A replica is a region that a secret is replicated to.
type replica struct{ Region, KmsKeyId string }

// maxTags is from "AWS Secrets Manager quotas" in the user guide.
const maxTags = 50

// setTags adds tags. A tag that the secret already has gets the new value.
func (s *secret) setTags(tags []tag) *apiError {
	all := slices.Clone(s.tags)
	for _, t := range tags {
		switch {
		case t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256:
			return bad("InvalidParameterException", "A tag has a key of 1 to 128 characters and a value of 256 at most.")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return bad("InvalidParameterException", "Tag keys may not start with aws:.")
		}
		if i := slices.IndexFunc(all, func(old tag) bool { return old.Key == t.Key }); i >= 0 {
			all[i] = t
		} else {
			all = append(all, t)
		}
	}
	if len(all) > maxTags {
		return bad("InvalidParameterException", "A secret has 50 tags at most.")
	}
	s.tags = all
	return nil
}

func (s *Server) tagResource(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e == nil {
		e = sec.setTags(in.Tags)
	}
	return output{}, e
}

func (s *Server) untagResource(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	sec.tags = slices.DeleteFunc(slices.Clone(sec.tags), func(t tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	return output{}, nil
}

// replicate stores the regions of replicas. It copies nothing, because all regions have the
// secret anyway.
func (s *secret) replicate(to []replica) *apiError {
	all := slices.Clone(s.replicas)
	for _, r := range to {
		if !awsregion.Valid(r.Region) || r.Region == s.region ||
			slices.ContainsFunc(all, func(old replica) bool { return old.Region == r.Region }) {
			return bad("InvalidParameterException", "Invalid replica region: it is the primary region, has a replica already, or is none.")
		}
		all = append(all, r)
	}
	s.replicas = all
	return nil
}

func (s *Server) replicateSecretToRegions(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e == nil {
		e = sec.replicate(in.AddReplicaRegions)
	}
	if e != nil {
		return nil, e
	}
	return output{"ARN": sec.arn(in.region), "ReplicationStatus": sec.replication()}, nil
}

func (s *Server) removeRegionsFromReplication(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	sec.replicas = slices.DeleteFunc(slices.Clone(sec.replicas), func(r replica) bool { return slices.Contains(in.RemoveReplicaRegions, r.Region) })
	return output{"ARN": sec.arn(in.region), "ReplicationStatus": sec.replication()}, nil
}

// replication returns ReplicationStatus.
func (s *secret) replication() []output {
	list := []output{}
	for _, r := range s.replicas {
		o := output{"Region": r.Region, "Status": "InSync"}
		if r.KmsKeyId != "" {
			o["KmsKeyId"] = r.KmsKeyId
		}
		list = append(list, o)
	}
	return list
}

// writable returns the service's error if an operation would change a replica.
func (s *Server) writable(in *input) *apiError {
	sec, err := s.find(in.region, in.SecretId)
	if err != nil || sec.region == in.region {
		return nil // if there is no such secret, the operation returns the error
	}
	return bad("InvalidRequestException", "Operation not permitted on a replica secret. Call must be made in primary secret's region.")
}
