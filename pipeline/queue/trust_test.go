package queue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
)

// A user with the NKey that the server knows comes in, another one does not.
func TestNKey(t *testing.T) {
	seed := func() (file, public string) {
		k, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		s, err := k.Seed()
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(t.TempDir(), "seed")
		if err := os.WriteFile(file, s, 0o600); err != nil {
			t.Fatal(err)
		}
		public, err = k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return file, public
	}
	known, public := seed()
	other, _ := seed()
	url, _ := serve(t, Serve{Listen: "127.0.0.1:0", Dir: t.TempDir(), NKeys: []string{public}})
	connect(t, Options{URL: url, NKey: known})
	if _, err := Connect(context.Background(), Options{URL: url, NKey: other}); err == nil {
		t.Error("an unknown key came in")
	}
	if _, err := Connect(context.Background(), Options{URL: url, NKey: "/nowhere"}); err == nil {
		t.Error("a key that is not there was accepted")
	}
}

// certificates writes an authority and a certificate for this machine that it signed.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sign := func(c, parent *x509.Certificate, pub, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &pub.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "quern"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	rootKey, leafKey := newKey(), newKey()
	ca = write("ca.pem", "CERTIFICATE", sign(root, root, rootKey, rootKey))
	cert = write("cert.pem", "CERTIFICATE", sign(leaf, root, leafKey, rootKey))
	der, err := x509.MarshalECPrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("key.pem", "EC PRIVATE KEY", der)
}

// With TLS both sides show what they are: a client without a certificate, and one that does not know the server's authority, stay out.
func TestTLS(t *testing.T) {
	ca, cert, key := certificates(t)
	url, _ := serve(t, Serve{Listen: "127.0.0.1:0", Dir: t.TempDir(), Cert: cert, Key: key, CA: ca})
	for _, u := range []string{url, strings.Replace(url, "nats://", "tls://", 1)} {
		connect(t, Options{URL: u, CA: ca, Cert: cert, Key: key})
	}
	for _, o := range []Options{{URL: url, CA: ca}, {URL: url, Cert: cert, Key: key}, {URL: url}} {
		if _, err := Connect(context.Background(), o); err == nil {
			t.Errorf("%+v came in", o)
		}
	}
	if _, err := (Serve{Listen: "127.0.0.1:0", Dir: t.TempDir(), Cert: "/nowhere", Key: key}).options(); err == nil {
		t.Error("a certificate that is not there was accepted")
	}
}
