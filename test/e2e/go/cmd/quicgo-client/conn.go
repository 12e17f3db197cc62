package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/http3/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

type client struct {
	mu    sync.Mutex
	conns map[string]*conn
	loads map[int]*load
}

func newClient() *client { return &client{conns: map[string]*conn{}, loads: map[int]*load{}} }

func (c *client) get(name string) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[name]
}

type dial struct {
	Address   string   `json:"address"` // host:port to send to
	Local     string   `json:"local"`   // address to send from; empty: any
	Name      string   `json:"name"`    // SNI
	CA        string   `json:"ca"`      // file; without it nothing is verified
	ALPN      []string `json:"alpn"`
	TimeoutMs int      `json:"timeoutMs"`
	IdleMs    int      `json:"idleMs"`
	// Resume keeps session tickets and uses those that are there; Early sends early data where a ticket allows it.
	Resume bool `json:"resume"`
	Early  bool `json:"early"`
}

var sessions = tls.NewLRUClientSessionCache(64)

type conn struct {
	quic    *quic.Conn
	h3      *http3.ClientConn
	goaways *goaways
	leaf    string

	moving sync.Mutex
	path   *quic.Path // the one in use, unless it is the first
}

func (c *client) open(name string, d dial) answer {
	conn, err := open(d)
	if err != nil {
		return answer{"error": describe(err)}
	}
	c.mu.Lock()
	c.conns[name] = conn
	c.mu.Unlock()
	state := conn.quic.ConnectionState()
	return answer{"certificate": conn.leaf, "alpn": state.TLS.NegotiatedProtocol, "resumed": state.TLS.DidResume, "early": state.Used0RTT, "group": state.TLS.CurveID.String()}
}

func open(d dial) (*conn, error) {
	conf := &tls.Config{ServerName: d.Name, NextProtos: []string{"h3"}, InsecureSkipVerify: d.CA == ""}
	if len(d.ALPN) > 0 {
		conf.NextProtos = d.ALPN
	}
	if d.CA != "" {
		pem, err := os.ReadFile(d.CA)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		conf.RootCAs.AppendCertsFromPEM(pem)
	}
	if d.Resume {
		conf.ClientSessionCache = sessions
	}
	timeout := 10 * time.Second
	if d.TimeoutMs > 0 {
		timeout = time.Duration(d.TimeoutMs) * time.Millisecond
	}
	idle := 60 * time.Second
	if d.IdleMs > 0 {
		idle = time.Duration(d.IdleMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	seen := &goaways{}
	to, err := net.ResolveUDPAddr("udp", d.Address)
	if err != nil {
		return nil, err
	}
	// A transport that is not quic-go's own: only then has the client connection ids, without which it could not move.
	network := "udp4"
	if to.IP.To4() == nil {
		network = "udp6"
	}
	var local *net.UDPAddr
	if d.Local != "" {
		if local, err = net.ResolveUDPAddr(network, net.JoinHostPort(d.Local, "0")); err != nil {
			return nil, err
		}
	}
	transport, err := newTransport(network, local)
	if err != nil {
		return nil, err
	}
	connect := transport.Dial
	if d.Early {
		connect = transport.DialEarly
	}
	q, err := connect(ctx, to, conf, &quic.Config{
		MaxIncomingStreams:   -1,
		HandshakeIdleTimeout: timeout,
		MaxIdleTimeout:       idle,
		KeepAlivePeriod:      idle / 3,
		Tracer:               func(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return seen },
	})
	if err != nil {
		transport.close()
		return nil, err
	}
	context.AfterFunc(q.Context(), transport.close)
	select {
	case <-q.HandshakeComplete():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	sum := sha256.Sum256(q.ConnectionState().TLS.PeerCertificates[0].Raw)
	client := &http3.Transport{DisableCompression: true}
	return &conn{quic: q, h3: client.NewClientConn(q), goaways: seen, leaf: hex.EncodeToString(sum[:])}, nil
}

// transport is a socket of its own for each connection, and for each place that it moves to.
type transport struct {
	quic.Transport
	socket *net.UDPConn
}

func newTransport(network string, local *net.UDPAddr) (*transport, error) {
	socket, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	return &transport{Transport: quic.Transport{Conn: socket}, socket: socket}, nil
}

func (t *transport) close() {
	t.Transport.Close()
	t.socket.Close()
}

func (c *conn) close() { c.h3.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }

func (c *conn) closed() answer {
	<-c.quic.Context().Done()
	return answer{"how": describe(context.Cause(c.quic.Context())), "goaways": c.goaways.ids()}
}

// goaways is a qlog trace that keeps the ids of GOAWAY frames and nothing else.
type goaways struct {
	mu   sync.Mutex
	list []int64
}

func (g *goaways) AddProducer() qlogwriter.Recorder   { return g }
func (g *goaways) SupportsSchemas(schema string) bool { return schema == qlog.EventSchema }
func (g *goaways) Close() error                       { return nil }

func (g *goaways) RecordEvent(e qlogwriter.Event) {
	parsed, ok := e.(qlog.FrameParsed)
	if !ok {
		return
	}
	if frame, ok := parsed.Frame.Frame.(qlog.GoAwayFrame); ok {
		g.mu.Lock()
		g.list = append(g.list, int64(frame.StreamID))
		g.mu.Unlock()
	}
}

func (g *goaways) ids() []int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int64{}, g.list...)
}

// failure says what ended a request or a connection: kind application | transport | stream | goaway | timeout | idle | refused | other.
type failure struct {
	Kind   string `json:"kind"`
	Code   uint64 `json:"code"`
	Remote bool   `json:"remote"`
	Text   string `json:"text"`
}

func describe(err error) failure {
	f := failure{Kind: "other", Text: err.Error()}
	var (
		application *quic.ApplicationError
		transport   *quic.TransportError
		stream      *quic.StreamError
		idle        *quic.IdleTimeoutError
		handshake   *quic.HandshakeTimeoutError
		reset       *quic.StatelessResetError
		op          *net.OpError
	)
	switch {
	case strings.Contains(f.Text, "connection in graceful shutdown"):
		f.Kind = "goaway"
	case errors.As(err, &application):
		f.Kind, f.Code, f.Remote = "application", uint64(application.ErrorCode), application.Remote
	case errors.As(err, &transport):
		f.Kind, f.Code, f.Remote = "transport", uint64(transport.ErrorCode), transport.Remote
	case errors.As(err, &stream):
		f.Kind, f.Code, f.Remote = "stream", uint64(stream.ErrorCode), stream.Remote
	case errors.As(err, &reset):
		f.Kind, f.Remote = "reset", true
	case errors.As(err, &handshake), errors.Is(err, context.DeadlineExceeded):
		f.Kind = "timeout"
	case errors.As(err, &idle):
		f.Kind = "idle"
	case errors.As(err, &op):
		f.Kind = "refused"
	case errors.Is(err, context.Canceled):
		f.Kind = "cancelled"
	}
	return f
}

// pairs lists fields by name, which is all the order that net/http keeps.
func pairs(h map[string][]string) [][2]string {
	list := [][2]string{}
	for name, values := range h {
		for _, v := range values {
			list = append(list, [2]string{strings.ToLower(name), v})
		}
	}
	slices.SortStableFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return list
}
