package all_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envOpen); name != "" {
		open(name, os.Getenv(envDSN))
		return
	}
	os.Exit(runWithSystems(m))
}
