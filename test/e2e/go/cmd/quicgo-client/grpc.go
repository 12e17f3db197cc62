package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// call is one gRPC call of the interoperability service: kind unary | server | client | bidi | error | unimplemented | deadline | cancel.
type call struct {
	Kind      string  `json:"kind"`
	Authority string  `json:"authority"`
	Sizes     []int32 `json:"sizes"` // messages asked for, or sent
	Size      int32   `json:"size"`  // of each request's payload
	Code      int32   `json:"code"`
	Message   string  `json:"message"`
	TimeoutMs int     `json:"timeoutMs"`
}

const service = "/grpc.testing.TestService/"

func (c *conn) grpc(k call) answer {
	timeout := 30 * time.Second
	if k.TimeoutMs > 0 {
		timeout = time.Duration(k.TimeoutMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	base := "https://" + k.Authority + service
	web := &http.Client{Transport: c.h3}
	a := answer{"received": []int{}}
	var err error
	switch k.Kind {
	case "unary", "error":
		err = unary(ctx, web, base, k, a)
	case "server":
		err = serverStream(ctx, web, base, k, a)
	case "client":
		err = clientStream(ctx, web, base, k, a)
	case "bidi", "deadline":
		err = bidiStream(ctx, web, base, k, a, nil)
	case "cancel":
		err = bidiStream(ctx, web, base, k, a, cancel)
	case "unimplemented":
		_, err = connect.NewClient[testgrpc.Empty, testgrpc.Empty](web, base+"UnimplementedCall", connect.WithGRPC()).CallUnary(ctx, connect.NewRequest(&testgrpc.Empty{}))
	default:
		return answer{"error": failure{Kind: "usage", Text: "no kind of call named " + k.Kind}}
	}
	if err != nil {
		a["code"], a["message"] = int(connect.CodeOf(err)), err.Error()
		var failed *connect.Error
		if errors.As(err, &failed) {
			a["message"], a["metadata"] = failed.Message(), pairs(failed.Meta())
		}
	} else {
		a["code"] = 0
	}
	return a
}

func payload(n int32) *testgrpc.Payload { return &testgrpc.Payload{Body: make([]byte, n)} }

// The interoperability service gives both of these back: the first as a header, the second as a trailer.
func mark(h http.Header) {
	h.Set("x-grpc-test-echo-initial", "initial")
	h.Set("x-grpc-test-echo-trailing-bin", connect.EncodeBinaryHeader([]byte{0xab, 0xab, 0xab}))
}

func unary(ctx context.Context, web *http.Client, base string, k call, a answer) error {
	message := &testgrpc.SimpleRequest{Payload: payload(k.Size)}
	if k.Kind == "error" {
		message.ResponseStatus = &testgrpc.EchoStatus{Code: k.Code, Message: k.Message}
	} else {
		message.ResponseSize = k.Sizes[0]
	}
	req := connect.NewRequest(message)
	mark(req.Header())
	res, err := connect.NewClient[testgrpc.SimpleRequest, testgrpc.SimpleResponse](web, base+"UnaryCall", connect.WithGRPC()).CallUnary(ctx, req)
	if err != nil {
		return err
	}
	a["received"] = []int{len(res.Msg.GetPayload().GetBody())}
	a["initial"], a["trailing"] = res.Header().Get("x-grpc-test-echo-initial"), res.Trailer().Get("x-grpc-test-echo-trailing-bin")
	return nil
}

func parameters(sizes []int32) []*testgrpc.ResponseParameters {
	list := []*testgrpc.ResponseParameters{}
	for _, n := range sizes {
		list = append(list, &testgrpc.ResponseParameters{Size: n})
	}
	return list
}

func serverStream(ctx context.Context, web *http.Client, base string, k call, a answer) error {
	client := connect.NewClient[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse](web, base+"StreamingOutputCall", connect.WithGRPC())
	stream, err := client.CallServerStream(ctx, connect.NewRequest(&testgrpc.StreamingOutputCallRequest{ResponseParameters: parameters(k.Sizes)}))
	if err != nil {
		return err
	}
	defer stream.Close()
	received := []int{}
	for stream.Receive() {
		received = append(received, len(stream.Msg().GetPayload().GetBody()))
	}
	a["received"] = received
	return stream.Err()
}

func clientStream(ctx context.Context, web *http.Client, base string, k call, a answer) error {
	client := connect.NewClient[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse](web, base+"StreamingInputCall", connect.WithGRPC())
	stream := client.CallClientStream(ctx)
	for _, n := range k.Sizes {
		if err := stream.Send(&testgrpc.StreamingInputCallRequest{Payload: payload(n)}); err != nil {
			return err
		}
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		return err
	}
	a["received"] = []int{int(res.Msg.GetAggregatedPayloadSize())}
	return nil
}

// bidiStream is a ping-pong: each request is sent only when the answer to the one before has come.
func bidiStream(ctx context.Context, web *http.Client, base string, k call, a answer, cancelAfterFirst func()) error {
	client := connect.NewClient[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse](web, base+"FullDuplexCall", connect.WithGRPC())
	stream := client.CallBidiStream(ctx)
	mark(stream.RequestHeader())
	received := []int{}
	defer func() { a["received"] = received }()
	for _, n := range k.Sizes {
		out := &testgrpc.StreamingOutputCallRequest{ResponseParameters: parameters([]int32{n}), Payload: payload(k.Size)}
		if k.Kind == "deadline" {
			out.ResponseParameters[0].IntervalUs = 10_000_000
		}
		if err := stream.Send(out); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		in, err := stream.Receive()
		if err != nil {
			return err
		}
		received = append(received, len(in.GetPayload().GetBody()))
		if cancelAfterFirst != nil {
			cancelAfterFirst()
			_, err := stream.Receive()
			return err
		}
	}
	if err := stream.CloseRequest(); err != nil {
		return err
	}
	if _, err := stream.Receive(); err == nil {
		return errors.New("a message after the last")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	a["trailing"] = stream.ResponseTrailer().Get("x-grpc-test-echo-trailing-bin")
	return stream.CloseResponse()
}
