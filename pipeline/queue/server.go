package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Serve says how a server of one's own runs.
type Serve struct {
	Listen string // host:port; port 0 takes a free one
	Dir    string // where streams are kept
	Token  string
	NKeys  []string // public keys of the users that may come in
	Cert   string   // files with the server's certificate and key
	Key    string
	CA     string // file: clients must show a certificate that it signed
	// Open allows an address beyond this machine without token, key or certificate.
	Open  bool
	Ready func(url string) // called when it answers
}

// OpenError says that a server would let anyone in.
type OpenError struct{ Listen string }

// Error names the address.
func (e *OpenError) Error() string {
	return e.Listen + " is beyond this machine, and nothing says who may come in"
}

// Hint says how.
func (e *OpenError) Hint() string {
	return "give --token-file, --nkey or --tls-ca; whoever can write to the queue decides what workers read and make"
}

// Run serves until the context ends.
func (s Serve) Run(ctx context.Context) error {
	o, err := s.options()
	if err != nil {
		return err
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return &Error{"serve", err, ""}
	}
	go srv.Start()
	const patience = 30 * time.Second
	if !srv.ReadyForConnections(patience) {
		srv.Shutdown()
		return &Error{"serve " + s.Listen, fmt.Errorf("it does not answer within %s", patience), "is the port taken? --listen names another"}
	}
	if s.Ready != nil {
		s.Ready(srv.ClientURL())
	}
	<-ctx.Done()
	srv.Shutdown()
	srv.WaitForShutdown()
	return ctx.Err()
}

func (s Serve) options() (*server.Options, error) {
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return nil, &Error{"serve", err, "--listen takes an address such as 127.0.0.1:4222"}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return nil, &Error{"serve", fmt.Errorf("%q is no port", port), ""}
	}
	if n == 0 {
		n = server.RANDOM_PORT
	}
	if !loopback(host) && s.Token == "" && len(s.NKeys) == 0 && s.CA == "" && !s.Open {
		return nil, &OpenError{s.Listen}
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	o := &server.Options{ServerName: "quern", Host: host, Port: n, JetStream: true, StoreDir: filepath.Clean(s.Dir), NoSigs: true, NoLog: true,
		Authorization: s.Token, MaxPayload: 1 << 20, SyncInterval: time.Second}
	for _, k := range s.NKeys {
		o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: k})
	}
	if s.Cert != "" || s.Key != "" || s.CA != "" {
		tc := &server.TLSConfigOpts{CertFile: s.Cert, KeyFile: s.Key, CaFile: s.CA, Verify: s.CA != ""}
		if o.TLSConfig, err = server.GenTLSConfig(tc); err != nil {
			return nil, &Error{"serve with TLS", err, "--tls-cert and --tls-key are files in PEM form"}
		}
		o.TLS, o.TLSVerify, o.TLSTimeout = true, tc.Verify, 5
	}
	if s.Token != "" && len(s.NKeys) > 0 {
		return nil, &Error{"serve", errors.New("a token and NKeys exclude one another"), ""}
	}
	return o, nil
}

// loopback tells whether a host is this machine alone. An empty host is every address.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
