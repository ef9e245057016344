//go:build sizes

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A program is not much larger with the library than by hand.
func TestProgramSizes(t *testing.T) {
	s, err := programSizes(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range s.Tables[0].Rows {
		t.Log(row)
	}
	for _, target := range s.Targets {
		if !target.Met {
			t.Errorf("%s: %s, want %s", target.What, target.Got, target.Want)
		}
	}
}

// A program with secrets from the agent or from files links no AWS SDK.
func TestLocalSourcesLinkNoSDK(t *testing.T) {
	for tags, want := range map[string]bool{"pgxv5,agent": false, "pgxv5,file": false, "postgres": true} {
		program := "./programs/source"
		if want {
			program = "./programs/open"
		}
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, program).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), "github.com/aws/"); got != want {
			t.Errorf("%s with %s links the AWS SDK: %t, want %t", program, tags, got, want)
		}
	}
}
