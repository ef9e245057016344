package awssmtest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A filter is a filter of ListSecrets.
type filter struct {
	Key    string
	Values []string
}

// matches reports whether a secret matches one of the filter's values. A value that begins with
// "!" matches if the secret does not have the rest. known is false if the server does not
// support the filter's key.
func (f filter) matches(s *secret) (matches, known bool) {
	var has []string
	fold := false
	switch f.Key {
	case "name":
		has = []string{s.name}
	case "description":
		has, fold = []string{s.description}, true
	case "tag-key":
		for _, t := range s.tags {
			has = append(has, t.Key)
		}
	case "tag-value":
		for _, t := range s.tags {
			has = append(has, t.Value)
		}
	default:
		return false, false
	}
	return slices.ContainsFunc(f.Values, func(want string) bool {
		want, not := strings.CutPrefix(want, "!")
		return not != slices.ContainsFunc(has, func(v string) bool {
			if fold {
				v, want = strings.ToLower(v), strings.ToLower(want)
			}
			return strings.HasPrefix(v, want)
		})
	}), true
}

// all returns the secrets of a region, the oldest first.
func (s *Server) all(region string) []*secret {
	byName := s.secrets
	if frozen, ok := s.frozen[region]; ok {
		byName = frozen
	}
	var list []*secret
	for name := range byName {
		if sec, err := pick(byName[name], region, func(*secret) bool { return true }); err == nil {
			list = append(list, sec)
		}
	}
	slices.SortFunc(list, func(a, b *secret) int {
		return cmp.Or(a.created.Compare(b.created), strings.Compare(a.name, b.name))
	})
	return list
}

// lists reports whether ListSecrets returns a secret. All filters must match.
func (in *input) lists(sec *secret) (bool, *apiError) {
	ok := !sec.marked() || in.IncludePlannedDeletion
	for _, f := range in.Filters {
		matches, known := f.matches(sec)
		if !known {
			return false, notSupported("InvalidParameterException", "the filter "+strconv.Quote(f.Key)+" of ListSecrets (name, description, tag-key and tag-value are)")
		}
		ok = ok && matches
	}
	return ok, nil
}

func (s *Server) listSecrets(in *input) (output, *apiError) {
	var found []*secret
	for _, sec := range s.all(in.region) {
		ok, e := in.lists(sec)
		if e != nil {
			return nil, e
		}
		if ok {
			found = append(found, sec)
		}
	}
	if in.SortOrder == "desc" {
		slices.Reverse(found)
	}
	most := 100
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	from, err := strconv.Atoi(cmp.Or(in.NextToken, "0"))
	switch {
	case err != nil, from < 0, from > len(found):
		return nil, bad("InvalidNextTokenException", "Invalid pagination token.")
	case most < 1, most > 100:
		return nil, bad("InvalidParameterException", "MaxResults is 1 to 100.")
	}
	page := found[from:min(from+most, len(found))]
	list := []output{}
	for _, sec := range page {
		o := sec.describe(in.region)
		o["SecretVersionsToStages"] = o["VersionIdsToStages"]
		delete(o, "VersionIdsToStages")
		delete(o, "ReplicationStatus")
		list = append(list, o)
	}
	out := output{"SecretList": list}
	if end := from + len(page); end < len(found) {
		out["NextToken"] = strconv.Itoa(end)
	}
	return out, nil
}
