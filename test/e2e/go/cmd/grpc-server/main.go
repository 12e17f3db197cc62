// grpc-server: gRPC's interoperability test service by grpc-go, over HTTP/2 without TLS.
// It prints {"listening": ADDRESS} and ends with its standard input.
package main

import (
	"flag"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"spooky/e2e/internal/line"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	go func() { log.Fatal(server.Serve(listener)) }()
	line.Write(map[string]string{"listening": listener.Addr().String()})
	line.Each(func([]byte) {})
}
