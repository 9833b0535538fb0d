package attest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"quern/convert/fault"

	"github.com/gowebpki/jcs"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	bundlev1 "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonv1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	dssev1 "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"
)

// What DSSE and Sigstore call the forms: https://github.com/in-toto/attestation and protobuf-specs, whose clients refuse others.
const (
	payloadType = "application/vnd.in-toto+json"
	bundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// maxKey and maxBundle bound what is read of files that others made.
const (
	maxKey    = 64 << 10
	maxBundle = 64 << 20
)

// key signs and verifies with Ed25519, or with ECDSA over P-256 and SHA-256, which are the two that cosign makes and takes.
type key struct {
	private crypto.Signer // nil: verifies only
	public  crypto.PublicKey
}

// Sign signs the message itself.
func (k key) Sign(_ context.Context, data []byte) ([]byte, error) {
	if _, ok := k.public.(ed25519.PublicKey); ok {
		return k.private.Sign(rand.Reader, data, crypto.Hash(0))
	}
	sum := sha256.Sum256(data)
	return k.private.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// Verify checks a signature of the message.
func (k key) Verify(_ context.Context, data, sig []byte) error {
	ok := false
	switch p := k.public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(p, data, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(data)
		ok = ecdsa.VerifyASN1(p, sum[:], sig)
	}
	if !ok {
		return errors.New("the signature is not of this key")
	}
	return nil
}

// KeyID is the digest of the public key.
func (k key) KeyID() (string, error) { return dsse.SHA256KeyID(k.public) }

// Public is the public half.
func (k key) Public() crypto.PublicKey { return k.public }

// supported refuses other kinds of keys.
func supported(path string, public crypto.PublicKey) error {
	switch p := public.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if p.Curve == elliptic.P256() {
			return nil
		}
	}
	return &fault.Invalid{On: path, Says: fmt.Sprintf("a key of type %T is not supported", public), Next: "use Ed25519 or ECDSA over P-256: openssl genpkey -algorithm ed25519 -out key.pem"}
}

// readPEM gives the first block of a file.
func readPEM(path string) (*pem.Block, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxKey {
		return nil, &fault.Invalid{On: path, Says: fmt.Sprintf("%d bytes are no key", fi.Size())}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, &fault.Invalid{On: path, Says: "not a PEM file", Next: "openssl genpkey -algorithm ed25519 -out key.pem makes a key"}
	}
	return block, nil
}

// privateKey reads PKCS #8, which openssl genpkey writes, and the older form of elliptic curves that openssl ecparam does. A passphrase is
// not asked for: nothing in quern asks.
func privateKey(path string) (key, error) {
	block, err := readPEM(path)
	if err != nil {
		return key{}, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			return key{}, &fault.Invalid{On: path, Says: "not an unencrypted private key", Next: "openssl pkey -in key.pem -out plain.pem takes a passphrase off", Err: err}
		}
	}
	s, ok := parsed.(crypto.Signer)
	if !ok {
		return key{}, &fault.Invalid{On: path, Says: fmt.Sprintf("a key of type %T does not sign", parsed)}
	}
	return key{s, s.Public()}, supported(path, s.Public())
}

// publicKey reads a key to verify by; a private one is refused, so that nobody gets used to passing it around.
func publicKey(path string) (key, error) {
	block, err := readPEM(path)
	if err != nil {
		return key{}, err
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return key{}, &fault.Invalid{On: path, Says: "not a public key", Next: "openssl pkey -in key.pem -pubout makes one", Err: err}
	}
	return key{public: public}, supported(path, public)
}

// Sign puts a statement into a signed envelope, in a Sigstore bundle that names the key by its digest. keyFile holds a private key
// in PEM. Nothing is sent anywhere: the bundle has no entry in a transparency log.
func Sign(ctx context.Context, statement []byte, keyFile string) ([]byte, error) {
	k, err := privateKey(keyFile)
	if err != nil {
		return nil, err
	}
	signer, err := dsse.NewEnvelopeSigner(k)
	if err != nil {
		return nil, err
	}
	e, err := signer.SignPayload(ctx, payloadType, statement)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", keyFile, err)
	}
	id, err := k.KeyID()
	if err != nil {
		return nil, err
	}
	env := &dssev1.Envelope{PayloadType: e.PayloadType, Payload: statement}
	for _, s := range e.Signatures {
		sig, err := base64.StdEncoding.DecodeString(s.Sig)
		if err != nil {
			return nil, err
		}
		env.Signatures = append(env.Signatures, &dssev1.Signature{Sig: sig, Keyid: s.KeyID})
	}
	b := &bundlev1.Bundle{
		MediaType:            bundleType,
		VerificationMaterial: &bundlev1.VerificationMaterial{Content: &bundlev1.VerificationMaterial_PublicKey{PublicKey: &commonv1.PublicKeyIdentifier{Hint: id}}},
		Content:              &bundlev1.Bundle_DsseEnvelope{DsseEnvelope: env},
	}
	raw, err := protojson.Marshal(b) // whose blanks differ from build to build, on purpose
	if err != nil {
		return nil, err
	}
	return jcs.Transform(raw)
}

// Open checks a bundle's signature with a public key in PEM and gives the statement.
func Open(ctx context.Context, bundleFile, keyFile string) ([]byte, error) {
	k, err := publicKey(keyFile)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(bundleFile)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxBundle {
		return nil, &fault.Invalid{On: bundleFile, Says: fmt.Sprintf("%d bytes are no bundle", fi.Size())}
	}
	raw, err := os.ReadFile(bundleFile)
	if err != nil {
		return nil, err
	}
	var b bundlev1.Bundle
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &b); err != nil || b.GetDsseEnvelope() == nil {
		return nil, &fault.Invalid{On: bundleFile, Says: "not a Sigstore bundle with a signed envelope", Err: err}
	}
	env := b.GetDsseEnvelope()
	e := &dsse.Envelope{PayloadType: env.PayloadType, Payload: base64.StdEncoding.EncodeToString(env.Payload)}
	for _, s := range env.Signatures {
		e.Signatures = append(e.Signatures, dsse.Signature{KeyID: s.Keyid, Sig: base64.StdEncoding.EncodeToString(s.Sig)})
	}
	verifier, err := dsse.NewEnvelopeVerifier(k)
	if err != nil {
		return nil, err
	}
	if _, err := verifier.Verify(ctx, e); err != nil || env.PayloadType != payloadType {
		return nil, &fault.Invalid{On: bundleFile, Says: "the signature does not hold for the key " + keyFile, Err: err}
	}
	return env.Payload, nil
}
