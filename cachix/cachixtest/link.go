package cachixtest

import (
	"net"
	"sync"
	"time"
)

// link simulates a slow network on the loopback interface.
type link struct {
	latency  time.Duration
	up, down *pace // nil for no limit
}

func newLink(latency time.Duration, bandwidth int64) *link {
	l := &link{latency: latency}
	if bandwidth > 0 {
		l.up, l.down = &pace{rate: bandwidth}, &pace{rate: bandwidth}
	}
	return l
}

func (l *link) roundTrip() {
	if l.latency > 0 {
		time.Sleep(l.latency)
	}
}

// pace limits the rate of bytes.
type pace struct {
	rate int64 // bytes a second
	mu   sync.Mutex
	free time.Time // the time at which the last byte has passed
}

func (p *pace) pass(n int) {
	if p == nil || n <= 0 {
		return
	}
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	wait := p.free.Sub(now)
	p.mu.Unlock()
	time.Sleep(wait)
}

// Slow returns a listener whose connections have the latency and bandwidth of the options. It returns the listener itself if
// there are none. The listener of [New] is slow already.
func (s *Server) Slow(l net.Listener) net.Listener {
	if s.link.latency == 0 && s.link.up == nil {
		return l
	}
	return slowListener{l, s.link}
}

type slowListener struct {
	net.Listener
	link *link
}

func (l slowListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && l.link.up != nil {
		// Otherwise the kernel would buffer some MB at once, and the link would seem fast at first, and then stall.
		_ = tcp.SetReadBuffer(maxPass)
	}
	return &slowConn{Conn: conn, link: l.link}, nil
}

type slowConn struct {
	net.Conn
	link   *link
	opened sync.Once
}

// maxPass is the maximum number of bytes that pass at once, so that all connections share the link.
const maxPass = 64 << 10

// Read waits for a round trip before the first byte, in place of the handshake.
func (c *slowConn) Read(p []byte) (int, error) {
	c.opened.Do(c.link.roundTrip)
	n, err := c.Conn.Read(p[:min(len(p), maxPass)])
	c.link.up.pass(n)
	return n, err
}

func (c *slowConn) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), maxPass)]
		c.link.down.pass(len(piece))
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// NetConn returns the underlying connection, like [crypto/tls.Conn.NetConn].
func (c *slowConn) NetConn() net.Conn { return c.Conn }
