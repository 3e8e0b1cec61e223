package streamtest

import (
	"net"
	"strconv"
	"testing"
)

// Blocks lie below the ephemeral range, where the kernel never picks a port by itself, and above what weft
// uses by default (18000 and the thousand after it). Each block has a guard: one port elsewhere on which
// its holder listens, so that processes of parallel packages cannot take the same block.
const (
	blockSize  = 100
	firstBlock = 20000
	lastPort   = 32700
	firstGuard = 19500
)

// PortBlock is 100 consecutive ports on 127.0.0.1 that belong to one test.
type PortBlock struct {
	t     testing.TB
	base  int
	guard net.Listener
}

// Ports reserves a block until the test ends. Fails the test when none is left.
func Ports(t testing.TB) *PortBlock {
	t.Helper()
	for base := firstBlock; base+blockSize <= lastPort; base += blockSize {
		guard, err := net.Listen("tcp", loopback(firstGuard+(base-firstBlock)/blockSize))
		if err != nil {
			continue
		}
		if !allFree(base) {
			guard.Close()
			continue
		}
		t.Cleanup(func() { guard.Close() })
		return &PortBlock{t: t, base: base, guard: guard}
	}
	t.Fatal("no block of free ports between 20000 and 32700")
	return nil
}

// Base is the first port of the block.
func (b *PortBlock) Base() int { return b.base }

// Port is the i-th port of the block, i from 0 to 99.
func (b *PortBlock) Port(i int) int {
	b.t.Helper()
	if i < 0 || i >= blockSize {
		b.t.Fatalf("port %d of a block of %d", i, blockSize)
	}
	return b.base + i
}

func allFree(base int) bool {
	for port := base; port < base+blockSize; port++ {
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func portOf(a net.Addr) int {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}
