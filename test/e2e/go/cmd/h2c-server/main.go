// h2c-server: a backend by Go's net/http over HTTP/2 without TLS; with --h3 the same handler is also served over HTTP/3 by quic-go,
// so that clients can be proven without a proxy between. It prints {"listening": ADDRESS, "h3": ADDRESS} and ends with its standard input.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"

	"spooky/e2e/internal/body"
	"spooky/e2e/internal/line"
)

var stats struct {
	Requests, Active, Cancelled, Endless atomic.Int64
}

// page writes what it was fetched by into itself.
const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>%[1]s</title><link rel="icon" href="data:,">
<style>body{font:20px sans-serif;margin:3em;background:#1d1a2b;color:#eee}code{color:#9f7}</style>
<h1>Served by %[1]s</h1><p>This page came by <code id="protocol">?</code>.
<script>document.getElementById('protocol').textContent = performance.getEntriesByType('navigation')[0].nextHopProtocol</script></html>
`

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address for HTTP/2 without TLS")
	h3 := flag.String("h3", "", "address for HTTP/3")
	cert := flag.String("cert", "", "certificate for HTTP/3")
	key := flag.String("key", "", "its key")
	name := flag.String("name", "h2c-server", "what /whoami answers")
	flag.Parse()

	handler := counted(routes(*name))
	ready := map[string]string{}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	ready["listening"] = listener.Addr().String()
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}}
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Protocols.SetHTTP1(true) // for /stats, asked by the test itself
	go func() { log.Fatal(server.Serve(listener)) }()
	if *h3 != "" {
		socket, err := net.ListenPacket("udp", *h3)
		if err != nil {
			log.Fatal(err)
		}
		ready["h3"] = socket.LocalAddr().String()
		front := &http3.Server{Handler: handler, MaxHeaderBytes: 64 << 10}
		go func() { log.Fatal(serveH3(front, socket, *cert, *key)) }()
	}
	line.Write(ready)
	line.Each(func([]byte) {})
}

func counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stats" {
			json.NewEncoder(w).Encode(map[string]int64{"requests": stats.Requests.Load(), "active": stats.Active.Load(), "cancelled": stats.Cancelled.Load(), "endless": stats.Endless.Load()})
			return
		}
		stats.Requests.Add(1)
		stats.Active.Add(1)
		done := false
		defer func() {
			stats.Active.Add(-1)
			if !done || r.Context().Err() != nil {
				stats.Cancelled.Add(1)
			}
		}()
		next.ServeHTTP(w, r)
		done = true
	})
}

func routes(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"name": name, "proto": r.Proto, "host": r.Host, "method": r.Method, "uri": r.RequestURI, "headers": r.Header})
	})
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/digest", func(w http.ResponseWriter, r *http.Request) { // for clients that do not read while they send
		hash := sha256.New()
		if _, err := io.Copy(hash, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, hex.EncodeToString(hash.Sum(nil)))
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) { // without reading the body
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "text/html; charset=utf-8")
		fmt.Fprintf(w, page, name)
	})
	mux.HandleFunc("/status/", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/status/"))
		if err != nil || code < 200 || code > 999 {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
	})
	mux.HandleFunc("/bytes/", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/bytes/"), 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "bad size", http.StatusBadRequest)
			return
		}
		w.Header().Set("content-type", "application/octet-stream")
		w.Header().Set("content-length", strconv.FormatInt(n, 10))
		if r.Method != http.MethodHead {
			io.CopyBuffer(struct{ io.Writer }{w}, body.NewSource(n, 0), make([]byte, 32<<10))
		}
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		if wait(r.Context(), time.Duration(ms)*time.Millisecond) {
			fmt.Fprintf(w, "after %d ms\n", ms)
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("trailer", "x-checksum, x-late")
		io.WriteString(w, "body before trailers\n")
		w.(http.Flusher).Flush()
		w.Header().Set("x-checksum", "abc123")
		w.Header().Set("x-late", "yes")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("link")
		io.WriteString(w, "after the hints\n")
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { // a promise of 1000 bytes, then a reset
		w.Header().Set("content-length", "1000")
		io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		source, chunk := body.NewSource(1<<40, 0), make([]byte, 16<<10)
		for {
			n, _ := source.Read(chunk)
			if _, err := w.Write(chunk[:n]); err != nil {
				return
			}
			stats.Endless.Add(int64(n))
		}
	})
	return mux
}

// echo answers while the request still arrives, and gives the request's trailers back as its own.
func echo(w http.ResponseWriter, r *http.Request) {
	if t := r.Header.Get("content-type"); t != "" {
		w.Header().Set("content-type", t)
	}
	http.NewResponseController(w).EnableFullDuplex()
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buffer)
		if n > 0 {
			if _, werr := w.Write(buffer[:n]); werr != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for key, values := range r.Trailer {
		for _, v := range values {
			w.Header().Add(http.TrailerPrefix+key, v)
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
