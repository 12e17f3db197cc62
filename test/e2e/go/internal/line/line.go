// Package line speaks JSON lines with the test that started the program.
package line

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
)

var out sync.Mutex

func Write(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	os.Stdout.Write(append(b, '\n'))
}

// Each calls f with every line of standard input, and returns at its end: a program whose test died does not stay.
func Each(f func([]byte)) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		f([]byte(in.Text()))
	}
}
