// quicgo-client: an HTTP/3 client by quic-go that a test drives with JSON lines on standard input; each answer carries its command's id.
//
//	open     dials a connection and names it          closed   waits for a connection's end and says how it came
//	request  one request on a named connection        close    closes a connection
//	load     requests without end until `halt`        grpc     one gRPC call (connect-go) on a named connection
//	migrate  moves a named connection to other local addresses, one after the other
package main

import (
	"encoding/json"
	"fmt"

	"spooky/e2e/internal/line"
)

type command struct {
	ID   int    `json:"id"`
	Op   string `json:"op"`
	Conn string `json:"conn"`
	Load int    `json:"load"`
	Dial dial   `json:"dial"`

	Request request `json:"request"`
	Conns   int     `json:"conns"`
	Streams int     `json:"streams"`
	GRPC    call    `json:"grpc"`
}

type answer map[string]any

func main() {
	c := newClient()
	line.Each(func(text []byte) {
		var cmd command
		if err := json.Unmarshal(text, &cmd); err != nil {
			line.Write(answer{"fatal": fmt.Sprintf("%v in %s", err, text)})
			return
		}
		go func() {
			a := c.run(cmd)
			a["id"] = cmd.ID
			line.Write(a)
		}()
	})
}

func (c *client) run(cmd command) answer {
	switch cmd.Op {
	case "open":
		return c.open(cmd.Conn, cmd.Dial)
	case "load":
		return c.startLoad(cmd)
	case "halt":
		return c.haltLoad(cmd.Load)
	}
	conn := c.get(cmd.Conn)
	if conn == nil {
		return answer{"error": failure{Kind: "usage", Text: "no connection named " + cmd.Conn + ", or no operation named " + cmd.Op}}
	}
	switch cmd.Op {
	case "request":
		return conn.request(cmd.Request)
	case "grpc":
		return conn.grpc(cmd.GRPC)
	case "migrate":
		return conn.migrateNow(cmd.Request)
	case "closed":
		return conn.closed()
	case "close":
		conn.close()
		return answer{"ok": true}
	default:
		return answer{"error": failure{Kind: "usage", Text: "no operation named " + cmd.Op}}
	}
}
