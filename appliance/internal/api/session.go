package api

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

const (
	sessionLife  = 30 * 24 * time.Hour
	knownRevoked = 1024 // sign-outs remembered; the one that expires first makes room
	nonceSize    = 16
	tokenSize    = 8 + nonceSize + sha256.Size
)

// sessions makes and checks the tokens of signed-in browsers: the expiry (Unix
// seconds, big endian) and a nonce, signed with a key drawn from the password.
// So no list of sessions has to be kept, a restart of the box signs nobody out,
// and a new password signs everybody out. Only sign-outs are remembered.
type sessions struct {
	key func() []byte

	mu      sync.Mutex
	revoked map[[nonceSize]byte]time.Time
}

func newSessions(password string) *sessions {
	return &sessions{
		// Slow on purpose, so that a stolen cookie does not give away a short
		// password; drawn once, when the first browser signs in.
		key: sync.OnceValue(func() []byte {
			k, err := pbkdf2.Key(sha256.New, password, []byte("watchpost session 1"), 100_000, 32)
			if err != nil {
				// Only a key length or FIPS setting that we do not use fails: a
				// random key keeps sign-in working until the next start.
				k = make([]byte, 32)
				rand.Read(k)
			}
			return k
		}),
		revoked: make(map[[nonceSize]byte]time.Time),
	}
}

// issue returns a new token and when it ends.
func (s *sessions) issue() (string, time.Time) {
	ends := time.Now().Add(sessionLife)
	b := make([]byte, 8+nonceSize, tokenSize)
	binary.BigEndian.PutUint64(b, uint64(ends.Unix()))
	rand.Read(b[8:])
	return base64.RawURLEncoding.EncodeToString(append(b, s.sign(b)...)), ends
}

// valid tells whether token was issued here, has not ended and was not revoked.
func (s *sessions) valid(token string) bool {
	nonce, ends, ok := s.open(token)
	if !ok || !time.Now().Before(ends) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, gone := s.revoked[nonce]
	return !gone
}

// revoke makes token invalid; a token that is none is left alone.
func (s *sessions) revoke(token string) {
	nonce, ends, ok := s.open(token)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.revoked[nonce]; !known && len(s.revoked) >= knownRevoked {
		var first [nonceSize]byte
		var at time.Time
		for n, t := range s.revoked {
			if at.IsZero() || t.Before(at) {
				first, at = n, t
			}
		}
		delete(s.revoked, first)
	}
	s.revoked[nonce] = ends
}

func (s *sessions) open(token string) (nonce [nonceSize]byte, ends time.Time, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != tokenSize {
		return nonce, ends, false
	}
	if !hmac.Equal(b[8+nonceSize:], s.sign(b[:8+nonceSize])) {
		return nonce, ends, false
	}
	copy(nonce[:], b[8:])
	return nonce, time.Unix(int64(binary.BigEndian.Uint64(b)), 0), true
}

func (s *sessions) sign(b []byte) []byte {
	m := hmac.New(sha256.New, s.key())
	m.Write(b)
	return m.Sum(nil)
}
