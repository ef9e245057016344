package report

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A Machine describes where and when the figures were measured.
type Machine struct {
	CPU   string // empty if unknown
	Cores int
	OS    string
	Go    string
	Date  string
	Peers []string // module@version
}

// ThisMachine describes the machine on which the program runs. peers are the paths of modules whose
// versions it names, if the program links them.
func ThisMachine(peers []string) Machine {
	m := Machine{CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Date: time.Now().Format(time.DateOnly)}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return m
	}
	versions := map[string]string{}
	for _, d := range build.Deps {
		versions[d.Path] = d.Version
	}
	for _, p := range peers {
		if v := versions[p]; v != "" {
			m.Peers = append(m.Peers, p+"@"+v)
		}
	}
	return m
}

// cpuModel returns Linux's name of the CPU, or nothing.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m *Machine) String() string {
	cpu := m.CPU
	if cpu == "" {
		cpu = "CPU unknown"
	}
	return fmt.Sprintf("%s, %d cores, %s, %s, on %s", cpu, m.Cores, m.OS, m.Go, m.Date)
}
