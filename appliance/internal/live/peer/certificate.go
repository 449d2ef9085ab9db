package peer

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/pion/webrtc/v4"
)

// certificate signs one certificate for all connections: a key of its own for
// each would cost each a key generation and tell nobody anything.
func certificate(key *ecdsa.PrivateKey) (*webrtc.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now := time.Now()
	cert, err := webrtc.NewCertificate(key, x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "watchpost"},
		// A box without a clock starts in 1970: be valid a little earlier.
		NotBefore: now.Add(-24 * time.Hour),
		NotAfter:  now.Add(certificateLife),
	})
	if err != nil {
		return nil, fmt.Errorf("sign the DTLS certificate: %w", err)
	}
	return cert, nil
}
