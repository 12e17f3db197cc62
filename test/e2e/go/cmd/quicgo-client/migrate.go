package main

import (
	"context"
	"net"
	"sync"
)

// migration moves the connection in the midst of a request: once so many bytes of the bodies have passed, sent and received together, it goes
// on from another local address.
type migration struct {
	After int64  `json:"after"`
	Local string `json:"local"` // an IP address; the port is the kernel's choice
}

// move is a migration that took place: where to, and how many bytes had passed by then.
type move struct {
	Local string `json:"local"`
	At    int64  `json:"at"`
}

// migrate validates a path from a socket at this address, and switches to it; the path before it is given up.
func (c *conn) migrate(ctx context.Context, local string) (string, error) {
	c.moving.Lock()
	defer c.moving.Unlock()
	transport, err := newTransport("udp", &net.UDPAddr{IP: net.ParseIP(local)})
	if err != nil {
		return "", err
	}
	context.AfterFunc(c.quic.Context(), transport.close)
	path, err := c.quic.AddPath(&transport.Transport)
	if err != nil {
		return "", err
	}
	if err := path.Probe(ctx); err != nil {
		return "", err
	}
	if err := path.Switch(); err != nil {
		return "", err
	}
	if c.path != nil {
		if err := c.path.Close(); err != nil {
			return "", err
		}
	}
	c.path = path
	return transport.socket.LocalAddr().String(), nil
}

func (c *conn) migrateNow(r request) answer {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout())
	defer cancel()
	moves := make([]move, 0, len(r.Migrate))
	for _, m := range r.Migrate {
		local, err := c.migrate(ctx, m.Local)
		if err != nil {
			return answer{"error": describe(err)}
		}
		moves = append(moves, move{Local: local})
	}
	return answer{"moves": moves}
}

// ahead is how far a transfer goes on while it moves. On a busy machine it would be over before it has moved.
const ahead = 1 << 20

// progress counts the bytes of a request and starts its migrations.
type progress struct {
	conn *conn
	ctx  context.Context

	mu     sync.Mutex
	passed int64
	left   []migration
	moves  []move
	err    error
	active sync.WaitGroup
	moving int
	until  int64 // what may pass while it moves
	moved  *sync.Cond
}

func newProgress(ctx context.Context, c *conn, migrations []migration) *progress {
	p := &progress{conn: c, ctx: ctx, left: migrations, moves: []move{}}
	p.moved = sync.NewCond(&p.mu)
	return p
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed += int64(n)
	for len(p.left) > 0 && p.passed >= p.left[0].After {
		m := p.left[0]
		p.left = p.left[1:]
		p.moving++
		p.until = p.passed + ahead
		p.active.Go(func() { p.take(m) })
	}
	for p.moving > 0 && p.passed >= p.until {
		p.moved.Wait()
	}
}

func (p *progress) take(m migration) {
	local, err := p.conn.migrate(p.ctx, m.Local)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving--
	p.moved.Broadcast()
	if err != nil {
		p.err = err
		return
	}
	p.moves = append(p.moves, move{Local: local, At: p.passed})
}

// wait returns when the migrations that were begun have ended.
func (p *progress) wait() ([]move, error) {
	p.active.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moves, p.err
}
