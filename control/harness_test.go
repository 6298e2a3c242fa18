package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kita/control/controltest"
	"kita/spec"
)

var _ Service = (*controltest.Service)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testService has a (runs), b (down) and web, web2 (down).
func testService() *controltest.Service {
	s := controltest.New(controltest.Child("a"), controltest.Child("b"), controltest.Child("web"), controltest.Child("web2"))
	s.InfoValue = spec.Info{
		ConfigFile: "/srv/server.yml", Version: "test", PID: 7, StartedAt: controltest.Started,
		LoadPaths: []string{"/srv/children"}, Mode: spec.Quiet, StateDir: "/s", RunDir: "/r",
	}
	s.SetRunning("a", 80)
	return s
}

// closeServer ends a server whose answers are all given.
func closeServer(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// pipeServer is a server on a listener of pipes, for synctest: time passes only
// when both sides wait. Close it before the bubble ends.
type pipeServer struct {
	*Server
	ln     *pipeListener
	served sync.WaitGroup
}

func newPipeServer(opt Options) *pipeServer {
	if opt.Service == nil {
		opt.Service = testService()
	}
	p := &pipeServer{Server: NewServer(opt), ln: newPipeListener()}
	p.served.Go(func() { _ = p.ServeTCP(context.Background(), p.ln) })
	return p
}

func (p *pipeServer) end(t testing.TB) {
	t.Helper()
	closeServer(t, p.Server)
	p.served.Wait()
}

// dial returns the client's side of a new connection.
func (p *pipeServer) dial(t testing.TB) *duplex {
	t.Helper()
	client, server := duplexPair()
	select {
	case p.ln.conns <- server:
	case <-p.ln.done:
		t.Fatal("the server has ended")
	}
	return client
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// duplex is a connection in memory whose sides can be closed one by one.
type duplex struct{ in, out net.Conn }

func duplexPair() (client, server *duplex) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	return &duplex{in: a, out: d}, &duplex{in: c, out: b}
}

func (d *duplex) Read(p []byte) (int, error)  { return d.in.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.out.Write(p) }
func (d *duplex) CloseWrite() error           { return d.out.Close() }
func (d *duplex) Close() error                { return errors.Join(d.in.Close(), d.out.Close()) }
func (d *duplex) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (d *duplex) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 2} }
func (d *duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}
func (d *duplex) SetReadDeadline(t time.Time) error  { return d.in.SetReadDeadline(t) }
func (d *duplex) SetWriteDeadline(t time.Time) error { return d.out.SetWriteDeadline(t) }

// say writes each part after a pause and returns all that comes back.
func (d *duplex) say(t testing.TB, pause time.Duration, halfClose bool, parts ...string) string {
	t.Helper()
	for i, part := range parts {
		if i > 0 {
			time.Sleep(pause)
		}
		if _, err := io.WriteString(d, part); err != nil {
			t.Errorf("write %q: %v", part, err)
		}
	}
	if halfClose {
		_ = d.CloseWrite()
	}
	answer, err := io.ReadAll(d)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	_ = d.Close()
	return string(answer)
}

func letters(s string) []string { return strings.Split(s, "") }

// tcpServer is a server on a real port and a real socket.
type tcpServer struct {
	*Server
	addr, socket string
}

func newTCPServer(t testing.TB, opt Options) *tcpServer {
	t.Helper()
	if opt.Service == nil {
		opt.Service = testService()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kita")
	if err != nil {
		t.Fatal(err)
	}
	socket := dir + "/kita.sock"
	unixLn, err := ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &tcpServer{Server: NewServer(opt), addr: ln.Addr().String(), socket: socket}
	var served sync.WaitGroup
	for _, serve := range []func() error{
		func() error { return s.ServeTCP(context.Background(), ln) },
		func() error { return s.ServeUnix(context.Background(), unixLn) },
	} {
		served.Go(func() {
			// A test may be over before this has begun.
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("serve: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		closeServer(t, s.Server)
		served.Wait()
		if _, err := os.Lstat(socket); err == nil {
			t.Errorf("%s is left", socket)
		}
		os.RemoveAll(dir)
	})
	return s
}

func (s *tcpServer) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc.(*net.TCPConn)
}

// get asks over a fresh connection.
func (s *tcpServer) get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	response, err := client.Get("http://" + s.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}
