package file

import (
	"context"
	"testing"
)

// Entries are the names that an id's entry in a directory may have.
func Entries(id, translation string) ([]string, error) {
	slash, err := separator(translation)
	if err != nil {
		return nil, err
	}
	return entries(id, slash), nil
}

// Settled is how long what is not behind ..data must not have changed.
const Settled = settled

// Before has each read of s's files wait for f.
func Before(s *Source, f func()) {
	load := s.load
	s.load = func(ctx context.Context, id string) (finding, error) {
		f()
		return load(ctx, id)
	}
}

// Between calls f between the steps of looks, until the test's end.
func Between(t *testing.T, f func()) {
	before := between
	between = f
	t.Cleanup(func() { between = before })
}
