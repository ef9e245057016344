package driver

import (
	"os"
	"slices"
	"time"
)

// The least time between two log records of a file that cannot be used.
const filesEvery = time.Minute

// A fileState tells whether a file has changed.
type fileState struct {
	info    os.FileInfo // nil if the file cannot be read; the engine's error says why
	settled bool        // a later change of the file would be visible in info
}

// settleTime is longer than a tick of a file system's clock. A file that was changed a shorter time
// ago may change once more without a new modification time.
const settleTime = time.Second

// fileStates returns the states of the files that the parameters name. It reads them once in each
// Connect call.
func (a *call) fileStates() []fileState {
	if a.states == nil {
		for _, name := range a.files {
			info, err := os.Stat(name)
			if err != nil {
				info = nil
			}
			a.states = append(a.states, fileState{info, err != nil || time.Since(info.ModTime()) > settleTime})
		}
	}
	return a.states
}

// sameFiles reports whether no file has changed.
func sameFiles(before, now []fileState) bool {
	return slices.EqualFunc(before, now, func(a, b fileState) bool {
		if a.info == nil || b.info == nil {
			return a.info == b.info
		}
		return a.settled && os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() &&
			a.info.Mode() == b.info.Mode() && a.info.ModTime().Equal(b.info.ModTime())
	})
}
