package subprocess_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
)

func TestRunReturnsWhatTheFunctionWrites(t *testing.T) {
	for _, name := range []string{"one", "two/three (*)"} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr := subprocess.Run(t, func() {
				fmt.Print("out of "+name, "\n")
				fmt.Fprint(os.Stderr, "child of ", os.Getppid())
			})
			if want := "out of " + name + "\n"; stdout != want {
				t.Errorf("standard output %q, want %q", stdout, want)
			}
			if want := fmt.Sprint("child of ", os.Getpid()); stderr != want {
				t.Errorf("standard error %q, want %q", stderr, want)
			}
		})
	}
}
