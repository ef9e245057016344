package drivertest

import (
	"context"
	"strconv"
	"sync"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A store is a Source that has one secret.
type store struct {
	mu     sync.Mutex
	fields map[string]any
	number int      // of the version
	count  int      // of fetches
	past   []string // passwords of earlier versions
}

func (s *store) Fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return secretcache.NewSecret(secretcache.Value{
		ID: id, Name: id, VersionID: "v" + strconv.Itoa(s.number+1), Stages: []string{stage}, String: value(s.fields)}), nil
}

// set creates a new version in which one field has another value.
func (s *store) set(key string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = append(s.past, s.fields["password"].(string))
	s.fields[key] = v
	s.number++
}

func (s *store) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *store) passwords() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{s.fields["password"].(string)}, s.past...)
}
