package pgxv5

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// bySecret stands for a host in the configurations of pools: the secret says which.
const bySecret = "host-of-the-secret"

// An opener opens connections for pgx's own ConnectConfig, which a pgxpool calls. pgx dials
// with the opener, which has the Connector log in, and gives pgx the connection that is logged
// in. pgx then believes to log in itself, and reads the server's greeting a second time.
type opener struct {
	connector *driver.Connector
	engine    *hookedEngine
	configure func(*pgx.ConnConfig) error // the engine's own
	base      *pgx.ConnConfig             // what the data source name and configure say, but for TLS
	timeout   time.Duration               // of what follows a Connect call; negative: none
	verifies  bool                        // the certificate and the host's name, at every login
	clean     bool                        // AfterConnect may leave prepared statements behind

	open sync.Map // *replayed by what identifies it in a request to cancel
}

func newOpener(engine driver.Engine, dsn string, opts *driver.Options) (*opener, error) {
	hooked := &hookedEngine{Engine: engine}
	connector, err := driver.NewConnector(hooked, dsn, opts)
	if err != nil {
		return nil, err
	}
	ep := driver.Endpoint{Host: bySecret, Port: engine.Info().Port, Params: hooked.params, TLS: opts.TLS}
	lg, err := hooked.Prepare(ep)
	if err != nil {
		return nil, err
	}
	l, err := loginOf(lg)
	if err != nil {
		return nil, err
	}
	base := l.hosts[0].config.Copy()
	o := &opener{connector: connector, engine: hooked, configure: l.engine.Configure, base: base,
		timeout: cmp.Or(opts.ConnectTimeout, driver.DefaultConnectTimeout)}
	if err := o.configure(base); err != nil {
		return nil, &configureError{clean(err)}
	}
	o.verifies = base.TLSConfig != nil && !base.TLSConfig.InsecureSkipVerify
	base.TLSConfig = nil
	o.clean = opts.AfterConnect != nil && base.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
	return o, nil
}

// dial is a pgconn.DialFunc. pgx also dials to cancel a query, at the address of the
// connection.
func (o *opener) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(addr); err != nil || host != bySecret {
		return &canceller{ctx: ctx, open: &o.open}, nil
	}
	conn, err := o.connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	r, err := o.replay(ctx, conn)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	return r, nil
}

// replay takes a connection away from the driver for database/sql.
func (o *opener) replay(ctx context.Context, conn sqldriver.Conn) (*replayed, error) {
	c, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("it is a %T and not pgx's", conn)
	}
	pg := c.Conn().PgConn()
	if pg.TxStatus() != 'I' {
		return nil, errors.New("driver.Options.AfterConnect has left a transaction open")
	}
	ctx, cancel := o.within(ctx)
	defer cancel()
	if o.clean { // pgx would prepare statements of the same names again
		if err := c.Conn().DeallocateAll(ctx); err != nil {
			return nil, err
		}
	}
	if err := pg.SyncConn(ctx); err != nil {
		return nil, err
	}
	messages := notifications(ctx, c.Conn())
	hijacked, err := pg.Hijack()
	if err != nil {
		return nil, err
	}
	superseded, _ := hijacked.CustomData[supersededKey].(func() bool)
	r := &replayed{Conn: hijacked.Conn, pg: pg, config: hijacked.Config, superseded: superseded, greeting: greeting(hijacked, messages)}
	key := cancelKey(hijacked.PID, hijacked.SecretKey)
	r.forget = func() { o.open.CompareAndDelete(key, r) }
	o.open.Store(key, r)
	return r, nil
}

// within bounds what pgx does with a connection that is logged in, before the pool has it.
func (o *opener) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.timeout)
}

// supersededKey is where a login leaves Credentials.Superseded, in pgx's CustomData.
const supersededKey = "sqlsecrets.superseded"

// notifications returns those that pgx has read by now: AfterConnect may have sent LISTEN.
func notifications(ctx context.Context, c *pgx.Conn) (messages []pgproto3.BackendMessage) {
	ended, cancel := context.WithCancel(ctx)
	cancel() // so pgx does not wait for more
	for {
		n, _ := c.WaitForNotification(ended)
		if n == nil {
			return messages
		}
		messages = append(messages, &pgproto3.NotificationResponse{PID: n.PID, Channel: n.Channel, Payload: n.Payload})
	}
}

// greeting returns what a server sends between a login's password and the first query, and
// further messages.
func greeting(c *pgconn.HijackedConn, further []pgproto3.BackendMessage) []byte {
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for _, name := range slices.Sorted(maps.Keys(c.ParameterStatuses)) {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: c.ParameterStatuses[name]})
	}
	if len(c.SecretKey) > 0 { // some proxies send none
		messages = append(messages, &pgproto3.BackendKeyData{ProcessID: c.PID, SecretKey: c.SecretKey})
	}
	messages = append(messages, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	messages = append(messages, further...)
	var b []byte
	for _, m := range messages {
		b, _ = m.Encode(b) // fails for messages of a gigabyte only
	}
	return b
}

// A replayed is a connection that is logged in, and behaves like one that is not yet.
type replayed struct {
	net.Conn
	pg         *pgconn.PgConn // of which Conn was taken, and which can still cancel
	config     *pgconn.Config // of the login
	superseded func() bool    // may be nil
	forget     func()

	// pgx reads and writes in two goroutines: one has the first field, the other the second.
	greeting []byte // not read yet
	started  bool   // pgx has written its request for a login
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.greeting) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.greeting)
	r.greeting = r.greeting[n:]
	return n, nil
}

// Write drops the request for a login, which pgx writes at once.
func (r *replayed) Write(b []byte) (int, error) {
	if r.started {
		return r.Conn.Write(b)
	}
	r.started = true
	if len(b) < 4 || int(binary.BigEndian.Uint32(b)) != len(b) {
		return 0, errors.New("pgx has not written the request for a login at once")
	}
	return len(b), nil
}

func (r *replayed) Close() error {
	r.forget()
	return r.Conn.Close()
}

// NetConn returns the connection to the server, a *tls.Conn for example.
func (r *replayed) NetConn() net.Conn { return r.Conn }

// tellEndpoint is a pgconn.AfterNetConnectFunc. It tells in the configuration, which is the
// connection's own, where and as whom the login was.
func tellEndpoint(_ context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
	if r, ok := conn.(*replayed); ok {
		config.Host, config.Port, config.Database, config.User = r.config.Host, r.config.Port, r.config.Database, r.config.User
	}
	return conn, nil
}

// A canceller is what pgx gets when it dials to cancel a query. It has the request sent as the
// login's own configuration would: by the same dialer, and over TLS if the connection has it.
type canceller struct {
	ctx  context.Context
	open *sync.Map
}

// cancelKey is what a request to cancel has behind its length and code.
func cancelKey(pid uint32, secretKey []byte) string {
	return string(append(binary.BigEndian.AppendUint32(nil, pid), secretKey...))
}

func (c *canceller) Write(b []byte) (int, error) {
	const cancelRequest = 80877102
	if len(b) < 12 || binary.BigEndian.Uint32(b[4:]) != cancelRequest {
		return 0, errors.New("a connection is opened by the secret: LookupFunc of its configuration is not to be changed")
	}
	if r, ok := c.open.Load(string(b[8:])); ok { // else it is closed by now
		if err := r.(*replayed).pg.CancelRequest(c.ctx); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Read says that the server has closed the connection, as it does after such a request.
func (c *canceller) Read([]byte) (int, error) { return 0, io.EOF }

func (c *canceller) Close() error                     { return nil }
func (c *canceller) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *canceller) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *canceller) SetDeadline(time.Time) error      { return nil }
func (c *canceller) SetReadDeadline(time.Time) error  { return nil }
func (c *canceller) SetWriteDeadline(time.Time) error { return nil }
