package main

import (
	"crypto/tls"
	"net"

	"github.com/quic-go/quic-go/http3"
)

func serveH3(server *http3.Server, socket net.PacketConn, cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	server.TLSConfig = http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}})
	return server.Serve(socket)
}
