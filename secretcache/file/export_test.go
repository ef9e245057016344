package file

import (
	"context"
	"testing"
)

// Entries returns the names that the entry of an id in a directory may have.
func Entries(id, translation string) ([]string, error) {
	slash, err := separator(translation)
	if err != nil {
		return nil, err
	}
	return entries(id, slash), nil
}

// Settled is how long a file that is not behind ..data must have been unchanged.
const Settled = settled

// Before calls f before each read of s's files.
func Before(s *Source, f func()) {
	load := s.load
	s.load = func(ctx context.Context, id string) (finding, error) {
		f()
		return load(ctx, id)
	}
}

// Between calls f between the steps of reads, until the end of the test.
func Between(t *testing.T, f func()) {
	before := between
	between = f
	t.Cleanup(func() { between = before })
}
