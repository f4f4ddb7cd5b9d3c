package dagger

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"
)

// tunnel connects containers with this process: Dagger makes a port of this machine reachable in containers (Host.Service).
// All output of commands goes through it.
//
// Dagger's progress log is for users: it interleaves all commands, marks and splits lines, and the client keeps every line
// in memory until the session ends. Container.Stdout is one string in memory. Container.File needs the disk space twice.
type tunnel struct {
	listener *net.TCPListener
	address  string // for run.sh
	mu       sync.Mutex
	streams  map[string]*streams // by token
}

const (
	tunnelHost = "client" // the name of this process for containers
	tunnelPort = 4000
	// greetingLimit is the maximum length of the line with which a connection begins, in bytes.
	greetingLimit = 128
)

// openTunnel listens on the loopback interface. It accepts only connections that begin with the token of a command.
func openTunnel() (*tunnel, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for containers: %v", err)
	}
	t := &tunnel{listener: l, address: fmt.Sprintf("%s/%d", tunnelHost, tunnelPort), streams: map[string]*streams{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go t.admit(conn)
		}
	}()
	return t, nil
}

// service starts the other end of the tunnel. This takes about half a second, once per session.
func (t *tunnel) service(ctx context.Context, client *dagger.Client) (*dagger.Service, error) {
	port := t.listener.Addr().(*net.TCPAddr).Port
	return client.Host().Service([]dagger.PortForward{{Frontend: tunnelPort, Backend: port}}).Start(ctx)
}

// admit passes a connection to the command of its token. Dagger itself connects without a token, to check that the port is
// open.
func (t *tunnel) admit(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(greetingTimeout))
	greeting, err := readLine(conn)
	_ = conn.SetReadDeadline(time.Time{})
	token, name, _ := strings.Cut(greeting, " ")
	t.mu.Lock()
	s := t.streams[token]
	t.mu.Unlock()
	if err != nil || s == nil || !s.admit(name, conn) {
		_ = conn.Close()
	}
}

// readLine reads one line. It reads no further, because the rest belongs to the stream.
func readLine(conn net.Conn) (string, error) {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < greetingLimit; line.WriteByte(b[0]) {
		if _, err := conn.Read(b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return line.String(), nil
		}
	}
	return "", fmt.Errorf("read greeting: longer than %d bytes", greetingLimit)
}

// streams are the connections of one command. Each is made at most once.
type streams struct {
	tunnel *tunnel
	// token identifies the command. It is one of its arguments, so Dagger cannot take the command from its cache.
	token                   string
	control, stdout, stderr chan net.Conn

	mu     sync.Mutex
	conns  map[string]net.Conn // by name
	closed bool
}

// expect prepares for the connections of one command.
func (t *tunnel) expect() *streams {
	s := &streams{
		tunnel: t, token: rand.Text(), conns: map[string]net.Conn{},
		control: make(chan net.Conn, 1), stdout: make(chan net.Conn, 1), stderr: make(chan net.Conn, 1),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[s.token] = s
	return s
}

func (s *streams) admit(name string, conn net.Conn) bool {
	to, ok := map[string]chan net.Conn{"control": s.control, "stdout": s.stdout, "stderr": s.stderr}[name]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || s.closed || s.conns[name] != nil {
		return false
	}
	s.conns[name] = conn
	to <- conn // its buffer has room for one connection
	return true
}

// close closes the connections, and refuses later ones.
func (s *streams) close() {
	s.tunnel.mu.Lock()
	delete(s.tunnel.streams, s.token)
	s.tunnel.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}

// close ends the listener. Commands close their own streams.
func (t *tunnel) close() { _ = t.listener.Close() }
