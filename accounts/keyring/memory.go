package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"github.com/weft-mesh/weft/streams/fault"
)

const memoryProvider = "memory"

// MemorySealer is a Sealer for tests: AES-256-GCM under keys that live in it alone. It can be told to be out of
// order, as a service on a network is now and then.
type MemorySealer struct {
	mu   sync.Mutex
	keys []memoryKey // the first seals
	down bool
}

type memoryKey struct {
	id   string
	aead cipher.AEAD
}

var _ Sealer = (*MemorySealer)(nil)

// NewMemorySealer makes a sealer with one master key.
func NewMemorySealer() *MemorySealer {
	s := &MemorySealer{}
	s.Rotate()
	return s
}

// Rotate makes another master key and seals with it from now on.
func (s *MemorySealer) Rotate() {
	block, err := aes.NewCipher(NewSecret(32))
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append([]memoryKey{{id: memoryProvider + ":" + hex.EncodeToString(NewSecret(8)), aead: aead}}, s.keys...)
}

// Retire forgets every master key but the one that seals.
func (s *MemorySealer) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[:1:1]
}

// SetDown lets every call fail as if the service did not answer, or ends that.
func (s *MemorySealer) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Format hides the keys from every verb of fmt.
func (s *MemorySealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "memory sealer") }

func (s *MemorySealer) held(ctx context.Context, op string) ([]memoryKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, &fault.Error{Op: op, Kind: fault.Unavailable, Code: "kms_unavailable", Detail: "given up", Err: err}
	}
	if s.down {
		return nil, fault.New(op, fault.Unavailable, "kms_unavailable", "the key service does not answer")
	}
	return s.keys, nil
}

// Seal seals with the newest master key.
func (s *MemorySealer) Seal(ctx context.Context, plain []byte) (string, error) {
	keys, err := s.held(ctx, "secret.seal")
	if err != nil {
		return "", err
	}
	nonce := NewSecret(keys[0].aead.NonceSize())
	return sealedText(keys[0].id, keys[0].aead.Seal(nonce, nonce, plain, []byte(keys[0].id))), nil
}

// Open opens with the master key that the text names.
func (s *MemorySealer) Open(ctx context.Context, sealed string) (Secret, error) {
	const op = "secret.open"
	keys, err := s.held(ctx, op)
	if err != nil {
		return nil, err
	}
	master, raw, err := parseSealed(op, memoryProvider, sealed)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.id != master {
			continue
		}
		if n := k.aead.NonceSize(); len(raw) >= n {
			if plain, err := k.aead.Open([]byte{}, raw[:n], raw[n:], []byte(k.id)); err == nil {
				return plain, nil
			}
		}
		return nil, fault.New(op, fault.Invalid, "sealed_damaged", "the sealed secret is damaged")
	}
	return nil, forOther(op, master)
}

// Masters lists the master keys, the newest first.
func (s *MemorySealer) Masters(ctx context.Context) ([]string, error) {
	keys, err := s.held(ctx, "sealer.masters")
	if err != nil {
		return nil, err
	}
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.id
	}
	return out, nil
}
