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

// bySecret stands in for the host in the configuration of a pool, because only the secret knows the
// host.
const bySecret = "host-of-the-secret"

// An opener opens connections for pgx's own ConnectConfig, which a pgxpool calls. pgx dials with
// the opener. The opener lets the Connector log in and gives pgx the logged-in connection. pgx then
// goes through a login of its own on that connection, and reads the server's greeting a second
// time.
type opener struct {
	connector *driver.Connector
	engine    *hookedEngine
	configure func(*pgx.ConnConfig) error // the engine's own
	base      *pgx.ConnConfig             // what the data source name and configure say, without TLS
	timeout   time.Duration               // for the work after a Connect call; negative: none
	verifies  bool                        // every login verifies the certificate and the name of the host
	clean     bool                        // AfterConnect may have left prepared statements

	open sync.Map // from cancelKey to *replayed
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

// dial is a pgconn.DialFunc. pgx also dials to cancel a query: then addr is the address of the
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

// replay takes the network connection out of a connection for database/sql.
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
	if o.clean { // pgx would prepare statements under the same names again
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

// within bounds the time that pgx may spend on a logged-in connection before the pool has it.
func (o *opener) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.timeout)
}

// supersededKey is the key in pgx's CustomData under which a login keeps Credentials.Superseded.
const supersededKey = "sqlsecrets.superseded"

// notifications returns the notifications that pgx has read so far, because AfterConnect may have
// sent LISTEN.
func notifications(ctx context.Context, c *pgx.Conn) (messages []pgproto3.BackendMessage) {
	ended, cancel := context.WithCancel(ctx)
	cancel() // pgx must not wait for more
	for {
		n, _ := c.WaitForNotification(ended)
		if n == nil {
			return messages
		}
		messages = append(messages, &pgproto3.NotificationResponse{PID: n.PID, Channel: n.Channel, Payload: n.Payload})
	}
}

// greeting returns what a server sends after it has accepted the password and before the first
// query, followed by further messages.
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
		b, _ = m.Encode(b) // it fails only for messages of a gigabyte
	}
	return b
}

// A replayed is a logged-in connection that behaves like one that is not logged in yet.
type replayed struct {
	net.Conn
	pg         *pgconn.PgConn // Conn was taken out of it; it can still cancel queries
	config     *pgconn.Config // the configuration of the login
	superseded func() bool    // may be nil
	forget     func()

	// pgx reads in one goroutine, which uses greeting, and writes in another, which uses started.
	greeting []byte // what is not read yet
	started  bool   // pgx has written its startup message
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.greeting) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.greeting)
	r.greeting = r.greeting[n:]
	return n, nil
}

// Write drops pgx's startup message, which pgx writes in one call.
func (r *replayed) Write(b []byte) (int, error) {
	if r.started {
		return r.Conn.Write(b)
	}
	r.started = true
	if len(b) < 4 || int(binary.BigEndian.Uint32(b)) != len(b) {
		return 0, errors.New("pgx has not written its startup message in one call")
	}
	return len(b), nil
}

func (r *replayed) Close() error {
	r.forget()
	return r.Conn.Close()
}

// NetConn returns the connection to the server, for example a *tls.Conn.
func (r *replayed) NetConn() net.Conn { return r.Conn }

// tellEndpoint is a pgconn.AfterNetConnectFunc. It writes the host, port, database and user of the
// login into the configuration, which belongs to this connection alone.
func tellEndpoint(_ context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
	if r, ok := conn.(*replayed); ok {
		config.Host, config.Port, config.Database, config.User = r.config.Host, r.config.Port, r.config.Database, r.config.User
	}
	return conn, nil
}

// A canceller is what pgx gets when it dials to cancel a query. It sends the request with the
// configuration of the login: by the same dialer, and over TLS if the connection has it.
type canceller struct {
	ctx  context.Context
	open *sync.Map
}

// cancelKey returns what follows the length and the code in a request to cancel.
func cancelKey(pid uint32, secretKey []byte) string {
	return string(append(binary.BigEndian.AppendUint32(nil, pid), secretKey...))
}

func (c *canceller) Write(b []byte) (int, error) {
	const cancelRequest = 80877102
	if len(b) < 12 || binary.BigEndian.Uint32(b[4:]) != cancelRequest {
		return 0, errors.New("LookupFunc of the configuration was changed after ConfigurePool or ConfigureConn: the connection needs the one that they set")
	}
	if r, ok := c.open.Load(string(b[8:])); ok { // otherwise the connection is closed by now
		if err := r.(*replayed).pg.CancelRequest(c.ctx); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Read returns io.EOF, because the server closes the connection after such a request.
func (c *canceller) Read([]byte) (int, error) { return 0, io.EOF }

func (c *canceller) Close() error                     { return nil }
func (c *canceller) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *canceller) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *canceller) SetDeadline(time.Time) error      { return nil }
func (c *canceller) SetReadDeadline(time.Time) error  { return nil }
func (c *canceller) SetWriteDeadline(time.Time) error { return nil }
