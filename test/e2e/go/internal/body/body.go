// Package body makes and checks bodies of any size: a block of prime length, repeated, so that a chunk out of place changes the hash.
package body

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"time"
)

const blockSize = 65521

var block = makeBlock()

func makeBlock() []byte {
	b := make([]byte, blockSize)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// Source is a reader of the first n bytes of the endless body; it hashes what was read.
type Source struct {
	left   int64
	offset int
	pause  time.Duration
	hash   hash.Hash
}

func NewSource(n int64, pause time.Duration) *Source {
	return &Source{left: n, pause: pause, hash: sha256.New()}
}

func (s *Source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if s.pause > 0 {
		time.Sleep(s.pause)
	}
	n := min(int64(len(p)), s.left, int64(blockSize-s.offset))
	copy(p[:n], block[s.offset:])
	s.hash.Write(p[:n])
	s.left -= n
	s.offset = (s.offset + int(n)) % blockSize
	return int(n), nil
}

func (s *Source) Close() error { return nil }

func (s *Source) Sum() string { return hex.EncodeToString(s.hash.Sum(nil)) }
