package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"

	"spooky/e2e/internal/body"
)

type request struct {
	Method    string      `json:"method"`
	Authority string      `json:"authority"`
	Path      string      `json:"path"`
	Headers   [][2]string `json:"headers"`
	Body      *int64      `json:"body"`    // size; absent: no body
	Declare   *bool       `json:"declare"` // content-length; default true
	Trailers  [][2]string `json:"trailers"`
	// Reading: pause after each chunk; cancel after so many bytes.
	ReadPauseMs int    `json:"readPauseMs"`
	ReadChunk   int    `json:"readChunk"`
	CancelAfter *int64 `json:"cancelAfter"`
	// Linger: the pauses end once the connection has received GOAWAY, so that the answer spans a drain however late that comes.
	Linger bool `json:"linger"`
	// Sending: pause before each chunk; cancel once so many milliseconds have passed.
	SendPauseMs int `json:"sendPauseMs"`
	CancelMs    int `json:"cancelMs"`
	TimeoutMs   int `json:"timeoutMs"`
	// Migrate is done in this order.
	Migrate []migration `json:"migrate"`
}

// counted tells how far the body has been sent.
type counted struct {
	*body.Source
	progress *progress
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Source.Read(p)
	c.progress.add(n)
	return n, err
}

func (r request) timeout() time.Duration {
	if r.TimeoutMs > 0 {
		return time.Duration(r.TimeoutMs) * time.Millisecond
	}
	return 60 * time.Second
}

func (r request) build(ctx context.Context, p *progress) (*http.Request, *body.Source, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	var source *body.Source
	var reader io.Reader
	if r.Body != nil {
		source = body.NewSource(*r.Body, time.Duration(r.SendPauseMs)*time.Millisecond)
		reader = counted{source, p}
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+r.Authority+r.Path, reader)
	if err != nil {
		return nil, nil, err
	}
	if r.Body != nil {
		req.ContentLength = *r.Body
		if r.Declare != nil && !*r.Declare {
			req.ContentLength = -1
		}
	}
	for _, h := range r.Headers {
		req.Header.Add(h[0], h[1])
	}
	if len(r.Trailers) > 0 {
		req.Trailer = http.Header{}
		for _, t := range r.Trailers {
			req.Trailer.Add(t[0], t[1])
		}
	}
	return req, source, nil
}

func (c *conn) request(r request) answer {
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout())
	defer cancel()
	if r.CancelMs > 0 {
		stop := time.AfterFunc(time.Duration(r.CancelMs)*time.Millisecond, cancel)
		defer stop.Stop()
	}
	var mu sync.Mutex
	interim := []int{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		mu.Lock()
		interim = append(interim, code)
		mu.Unlock()
		return nil
	}})
	p := newProgress(ctx, c, r.Migrate)
	req, source, err := r.build(ctx, p)
	if err != nil {
		return answer{"error": failure{Kind: "usage", Text: err.Error()}}
	}
	res, err := c.h3.RoundTrip(req)
	if err != nil {
		return answer{"error": c.describe(err), "ms": ms(started)}
	}
	defer res.Body.Close()
	a := answer{"status": res.StatusCode, "headers": pairs(res.Header), "firstByteMs": ms(started)}
	size, sum, text, cancelled, err := r.read(res.Body, p, cancel)
	a["text"] = text
	a["size"], a["sha256"], a["cancelled"], a["trailers"], a["ms"] = size, sum, cancelled, pairs(res.Trailer), ms(started)
	mu.Lock()
	a["interim"] = interim
	mu.Unlock()
	if source != nil {
		a["sent"] = source.Sum()
	}
	moves, failed := p.wait()
	a["moves"] = moves
	a["goaways"] = c.goaways.ids()
	if err == nil {
		err = failed
	}
	if err != nil && !cancelled {
		a["error"] = c.describe(err)
	}
	return a
}

// After GOAWAY quic-go closes the connection itself as soon as nothing is open on it: a request that comes at that moment was never begun.
func (c *conn) describe(err error) failure {
	f := describe(err)
	if f.Kind == "application" && f.Code == uint64(http3.ErrCodeNoError) && !f.Remote && len(c.goaways.ids()) > 0 {
		f.Kind = "goaway"
	}
	return f
}

func (r request) read(from io.Reader, p *progress, cancel func()) (size int64, sum, text string, cancelled bool, err error) {
	hash := sha256.New()
	chunk := 32 << 10
	if r.ReadChunk > 0 {
		chunk = r.ReadChunk
	}
	buffer := make([]byte, chunk)
	for {
		n, readErr := from.Read(buffer)
		hash.Write(buffer[:n])
		p.add(n)
		if len(text) < 8192 {
			text += string(buffer[:min(n, 8192-len(text))])
		}
		size += int64(n)
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			err = readErr
			break
		}
		if r.CancelAfter != nil && size >= *r.CancelAfter {
			cancelled = true
			cancel()
			break
		}
		if r.ReadPauseMs > 0 && !(r.Linger && len(p.conn.goaways.ids()) > 0) {
			time.Sleep(time.Duration(r.ReadPauseMs) * time.Millisecond)
		}
	}
	return size, hex.EncodeToString(hash.Sum(nil)), text, cancelled, err
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// load keeps Streams requests going on each of Conns connections. A request that the connection refuses because it has received GOAWAY was never
// begun: the connection is left to finish, and another is dialled. Once a dial fails after a GOAWAY, that lane ends: the server is going away.
type load struct {
	mu       sync.Mutex
	stopping bool
	stop     chan struct{}
	done     sync.WaitGroup
	Statuses map[int]int
	Failures []string
	Failed   int
	Refused  int
	Dials    int
	Gone     int
	MaxMs    float64
}

func (c *client) startLoad(cmd command) answer {
	l := &load{stop: make(chan struct{}), Statuses: map[int]int{}}
	c.mu.Lock()
	c.loads[cmd.ID] = l
	c.mu.Unlock()
	first := make(chan error, cmd.Conns)
	for range cmd.Conns {
		l.done.Add(1)
		go l.lane(cmd, first)
	}
	for range cmd.Conns {
		if err := <-first; err != nil {
			return answer{"error": describe(err)}
		}
	}
	return answer{"ok": true}
}

func (l *load) lane(cmd command, first chan<- error) {
	defer l.done.Done()
	var workers sync.WaitGroup
	defer workers.Wait()
	drained := false
	for dials := 0; ; dials++ {
		c, err := open(cmd.Dial)
		if dials == 0 {
			first <- err
		}
		if err != nil {
			l.note(func() {
				if drained {
					l.Gone++
				} else {
					l.fail(err)
				}
			})
			return
		}
		l.note(func() { l.Dials++ })
		var refused sync.WaitGroup
		for range cmd.Streams {
			refused.Add(1)
			workers.Add(1)
			go func() {
				defer workers.Done()
				defer refused.Done()
				l.stream(c, cmd.Request)
			}()
		}
		refused.Wait()
		select {
		case <-l.stop:
			c.close()
			return
		default:
			drained = drained || len(c.goaways.ids()) > 0
			if dials > 1000 {
				return
			}
		}
	}
}

// stream makes requests until the connection takes no more or the load is halted.
func (l *load) stream(c *conn, r request) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		a := c.request(r)
		over := false
		l.note(func() {
			if f, ok := a["error"].(failure); ok {
				over = true
				if f.Kind == "goaway" {
					l.Refused++
				} else {
					l.fail(fmt.Errorf("%s %d: %s", f.Kind, f.Code, f.Text))
				}
				return
			}
			l.Statuses[a["status"].(int)]++
			l.MaxMs = max(l.MaxMs, a["ms"].(float64))
		})
		if over {
			return
		}
	}
}

func (l *load) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *load) fail(err error) {
	l.Failed++
	if len(l.Failures) < 10 {
		l.Failures = append(l.Failures, err.Error())
	}
}

func (c *client) haltLoad(id int) answer {
	c.mu.Lock()
	l := c.loads[id]
	c.mu.Unlock()
	if l == nil {
		return answer{"error": failure{Kind: "usage", Text: "no such load"}}
	}
	l.note(func() {
		if !l.stopping {
			l.stopping = true
			close(l.stop)
		}
	})
	l.done.Wait()
	return answer{"statuses": l.Statuses, "failed": l.Failed, "failures": l.Failures, "refused": l.Refused, "dials": l.Dials, "gone": l.Gone, "maxMs": l.MaxMs}
}
