package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	osexec "os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A runningService is the program of examples/service.
type runningService struct {
	cmd *osexec.Cmd
	url string
	log sync.WaitGroup // until its log was read
}

func startService(t *testing.T, v *env, args ...string) *runningService {
	t.Helper()
	path := filepath.Join(buildExamples(t, "../examples", "service"), "service")
	s := &runningService{cmd: v.example(t.Context(), path, args...)}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	s.log.Go(func() {
		defer close(address)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var record struct{ Level, Msg, Address string }
			if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
				t.Errorf("this line is not a log record: %s", lines.Text())
			}
			if record.Msg == "listening" {
				address <- record.Address
			}
			if record.Level == "ERROR" {
				t.Errorf("the service logs %s", lines.Text())
			}
		}
	})
	s.url = "http://" + <-address
	return s
}

// status returns the status of an answer, or 0 with an error of the test.
func (s *runningService) status(t *testing.T, method, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// The service answers every request while passwords rotate, shows the version in use, and ends
// without a failed request.
func TestExampleService(t *testing.T) {
	v, dsn := newExampleEnv(t)
	exec(t, v, "DROP TABLE IF EXISTS service_orders; CREATE TABLE service_orders (item text NOT NULL); GRANT ALL ON service_orders TO "+v.user)
	s := startService(t, v, "-listen", "127.0.0.1:0", "-lifetime", "20ms", "-drain", "500ms", dsn)
	defer http.DefaultClient.CloseIdleConnections()

	ctx, stop := context.WithCancel(t.Context())
	var orders atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				orders.Add(1)
				if got := s.status(t, "POST", "/orders/tea"); got != http.StatusCreated {
					t.Errorf("an order: status %d", got)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	if err := v.rotate(t.Context(), func(string) { time.Sleep(200 * time.Millisecond) }); err != nil {
		t.Error(err)
	}
	until(t, "the pages say what is so", func() bool {
		var page struct {
			Healthy bool
			Version string
		}
		res, err := http.Get(s.url + "/health")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
			t.Fatal(err)
		}
		return page.Healthy && page.Version == v.sm.Stages(v.id)["AWSCURRENT"]
	})
	stop()
	wg.Wait()
	if got := s.status(t, "GET", "/ready"); got != http.StatusOK {
		t.Errorf("/ready: status %d", got)
	}
	v.crossed(t, 1)

	// The service ends while an order waits for the table.
	unlock := v.lockTable(t, "service_orders", "ACCESS EXCLUSIVE")
	defer unlock()
	last := make(chan int, 1)
	orders.Add(1)
	go func() { last <- s.status(t, "POST", "/orders/tea") }()
	v.waitBlocked(t)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "/ready says no", func() bool { return s.status(t, "GET", "/ready") == http.StatusServiceUnavailable })
	unlock()
	if got := <-last; got != http.StatusCreated {
		t.Errorf("the last order: status %d", got)
	}
	s.log.Wait()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the service: %v", err)
	}
	var stored int64
	if err := v.Admin().QueryRowContext(t.Context(), "SELECT count(*) FROM service_orders").Scan(&stored); err != nil {
		t.Error(err)
	}
	if stored != orders.Load() {
		t.Errorf("%d orders are stored, %d were sent", stored, orders.Load())
	}
	exec(t, v, "DROP TABLE service_orders")
}
