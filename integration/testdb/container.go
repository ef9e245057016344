package testdb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const (
	loopback = "127.0.0.1"

	certFile = "/testdb/server.crt" // in the container
	keyFile  = "/testdb/server.key"
	caFile   = "/testdb/ca.crt"

	socketDir = "/testdb-socket"

	pullTimeout = 10 * time.Minute
)

// request describes a container.
type request struct {
	image      string
	port       string // in the container, such as "5432/tcp"
	env        map[string]string
	entrypoint []string // nil means the entrypoint of the image
	cmd        []string
	files      map[string][]byte // by their path in the container
	binds      []string          // directories of this machine: "/here:/there"
}

// haveImage returns why no container of the image can be started, or nil. If the image is not here,
// haveImage tries once to pull it.
func haveImage(image string) error {
	ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
	defer cancel()
	cli, err := dockerClient(ctx)
	if err != nil {
		return err
	}
	defer cli.Close()
	if err := pull(ctx, cli, image); err != nil {
		return err
	}
	if !testcontainers.ReadConfig().RyukDisabled {
		//lint:ignore SA1019 nothing else says which image the helper has
		if err := pull(ctx, cli, testcontainers.ReaperDefaultImage); err != nil {
			return fmt.Errorf("%w; TESTCONTAINERS_RYUK_DISABLED=true runs without it", err)
		}
	}
	return nil
}

var silence = sync.OnceFunc(func() { log.SetDefault(log.NewNoopLogger()) })

func dockerClient(ctx context.Context) (*testcontainers.DockerClient, error) {
	silence()
	pingCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cli, err := testcontainers.NewDockerClientWithOpts(pingCtx)
	if err != nil {
		return nil, fmt.Errorf("no Docker daemon: %w", err)
	}
	if _, err := cli.Ping(pingCtx, client.PingOptions{}); err != nil {
		cli.Close()
		return nil, fmt.Errorf("no Docker daemon answers: %w", err)
	}
	// testcontainers uses the default socket if DOCKER_HOST does not answer.
	if want := os.Getenv("DOCKER_HOST"); want != "" && want != cli.DaemonHost() {
		cli.Close()
		return nil, fmt.Errorf("no Docker daemon answers at DOCKER_HOST, %s", want)
	}
	if !here(cli.DaemonHost()) {
		cli.Close()
		return nil, fmt.Errorf("the Docker daemon is at %s, not on this machine, and servers listen on loopback only", cli.DaemonHost())
	}
	return cli, nil
}

// here reports whether a daemon's address is on this machine.
func here(daemon string) bool {
	u, err := url.Parse(daemon)
	if err != nil {
		return false
	}
	if u.Scheme == "unix" || u.Scheme == "npipe" || u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// pull pulls an image unless it is here.
func pull(ctx context.Context, cli *testcontainers.DockerClient, image string) error {
	_, err := cli.ImageInspect(ctx, image)
	if err == nil {
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return fmt.Errorf("look for image %q: %w", image, err)
	}
	var opts client.ImagePullOptions
	if _, auth, err := testcontainers.DockerImageAuth(ctx, image); err == nil { // an error means nothing is configured
		if opts.RegistryAuth, err = authconfig.Encode(auth); err != nil {
			return fmt.Errorf("credentials for image %q: %w", image, err)
		}
	}
	res, err := cli.ImagePull(ctx, image, opts)
	if err == nil {
		err = res.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("image %q is not here and cannot be pulled: %w", image, err)
	}
	return nil
}

// A container is a Docker container that publishes its port on loopback.
type container struct {
	*testcontainers.DockerContainer
	port int
}

var _ process = (*container)(nil)

// startContainer starts a container. The container may be not nil even with an error.
func startContainer(ctx context.Context, r request) (*container, error) {
	inner, err := network.ParsePort(r.port)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		opts := []testcontainers.ContainerCustomizer{
			testcontainers.WithExposedPorts(r.port),
			testcontainers.WithEnv(r.env),
			testcontainers.WithCmd(r.cmd...),
			// If Docker chose the port, it would be another one after a restart.
			testcontainers.WithHostConfigModifier(func(c *dockercontainer.HostConfig) {
				c.Binds = r.binds
				c.PortBindings = network.PortMap{inner: {{
					HostIP:   netip.MustParseAddr(loopback),
					HostPort: strconv.Itoa(port),
				}}}
			}),
		}
		if r.entrypoint != nil {
			opts = append(opts, testcontainers.WithEntrypoint(r.entrypoint...))
		}
		for path, content := range r.files {
			opts = append(opts, testcontainers.WithFiles(testcontainers.ContainerFile{
				Reader:            bytes.NewReader(content),
				ContainerFilePath: path,
				FileMode:          0o644, // readable by any user that runs the server
			}))
		}
		ctr, err := testcontainers.Run(ctx, r.image, opts...)
		if ctr == nil {
			return nil, err
		}
		c := &container{ctr, port}
		if err == nil || attempt == 5 || !portTaken(err) {
			return c, err
		}
		if err := c.end(); err != nil {
			return c, err
		}
	}
}

func (c *container) ports() (port, tlsPort int) { return c.port, c.port }

func (c *container) restart(ctx context.Context) error {
	grace := 30 * time.Second
	if err := c.Stop(ctx, &grace); err != nil {
		return err
	}
	return c.Start(ctx)
}

func (c *container) problem(ctx context.Context) error {
	state, err := c.State(ctx)
	if err == nil && !state.Running {
		err = fmt.Errorf("the container ended with status %d", state.ExitCode)
	}
	return err
}

// end kills the container, because its data is deleted with it.
func (c *container) end() error {
	return testcontainers.TerminateContainer(c.DockerContainer, testcontainers.StopTimeout(0))
}

func portTaken(err error) bool {
	return strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
}

// given are the ports that FreePort has returned.
var given sync.Map

// FreePort returns a port of loopback on which nothing listens, and never the same port again. If
// the range that the kernel gives to clients is known, the port is outside it. Otherwise another
// process's outgoing connection might take the port while a server restarts, and a client that
// dials the port again and again might even reach itself.
func FreePort() (int, error) {
	const low = 20000
	high := low
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			high, _ = strconv.Atoi(f[0]) // not a number: 0, as if unknown
		}
	}
	for range 100 {
		port := 0
		if high-low >= 1000 {
			port = low + rand.IntN(high-low)
		}
		ln, err := net.Listen("tcp", joinHostPort(port))
		if err != nil {
			continue
		}
		port = ln.Addr().(*net.TCPAddr).Port
		if err := ln.Close(); err != nil {
			return 0, err
		}
		if _, taken := given.LoadOrStore(port, true); !taken {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on %s", loopback)
}

func (c *container) log() string {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	log, err := c.wholeLog(ctx)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// wholeLog returns everything that a container printed.
func (c *container) wholeLog(ctx context.Context) (string, error) {
	rc, err := c.Logs(ctx)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	return string(b), err
}
