package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// TLS is what a listener on the network needs. The files are read anew when they change.
type TLS struct {
	Certificate, Key string // files in PEM; the certificate with those that sign it
	ClientCA         string // file in PEM: who signs the certificates of callers; empty: nobody does
}

// Serve serves at l, which is a unix socket that only those can open who may try, until
// Close.
func (s *Server) Serve(l net.Listener) {
	s.serve(atMost(s.limits.connections, l), &door{name: "socket", socket: true})
}

// Listen serves at an address of the form "tls:HOST:PORT" until Close. It refuses, with
// code.Usage, whatever would be open to anybody: plain TCP, and TLS without tokens or a CA of
// clients. It returns where it listens.
func (s *Server) Listen(address string, t TLS) (net.Addr, error) {
	at, ok := strings.CutPrefix(address, "tls:")
	if _, _, err := net.SplitHostPort(at); !ok || err != nil {
		return nil, code.Hint(code.Usage, `listen = ["tls:127.0.0.1:7171"]`, "[serve] listen %q: want tls:HOST:PORT; there is no plain TCP", address)
	}
	if t.Certificate == "" || t.Key == "" {
		return nil, code.New(code.Usage, "[serve] listen %q needs certificate and key", address)
	}
	a := s.access.Load()
	if len(a.tokens) == 0 && (t.ClientCA == "" || len(a.certs) == 0) {
		return nil, code.Hint(code.Usage, "remora token makes a token, and prints what to paste",
			"[serve] listen %q: nobody could be told from anybody: want a [[serve.token]], or client_ca and a [[serve.certificates]]", address)
	}
	files := &tlsFiles{TLS: t}
	if _, err := files.config(nil); err != nil {
		return nil, code.Default(code.Usage, err)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, code.Default(code.Usage, fmt.Errorf("[serve] listen %q: %w", address, err))
	}
	d := &door{name: at, certified: files.certified}
	s.serve(tls.NewListener(atMost(s.limits.connections, l), &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: files.config}), d)
	return l.Addr(), nil
}

// Probes serves health and metrics, and nothing else, to everybody at HOST:PORT.
func (s *Server) Probes(address string) (net.Addr, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, code.Default(code.Usage, fmt.Errorf("[serve] probes %q: %w", address, err))
	}
	s.serve(atMost(s.limits.connections, l), &door{name: address, probes: true})
	return l.Addr(), nil
}

// tlsFiles makes the configuration of the next handshake from the files as they are now. Files
// that are broken, or half written, leave the last ones that worked in force.
type tlsFiles struct {
	TLS

	mu    sync.Mutex
	stamp [3]stamp
	now   *tls.Config
	leaf  *x509.Certificate
}

type stamp struct {
	changed time.Time
	size    int64
}

func (f *tlsFiles) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now [3]stamp
	for i, path := range []string{f.Certificate, f.Key, f.ClientCA} {
		if st, err := os.Stat(path); err == nil {
			now[i] = stamp{st.ModTime(), st.Size()}
		}
	}
	if f.now != nil && now == f.stamp {
		return f.now, nil
	}
	c, leaf, err := f.load()
	switch {
	case err == nil:
		f.now, f.leaf, f.stamp = c, leaf, now
	case f.now != nil:
		return f.now, nil
	}
	return c, err
}

func (f *tlsFiles) load() (*tls.Config, *x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("[serve] certificate %s, key %s: %w", f.Certificate, f.Key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if f.ClientCA == "" {
		return c, pair.Leaf, nil
	}
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, nil, fmt.Errorf("[serve] client_ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, nil, fmt.Errorf("[serve] client_ca %s: no certificate in it", f.ClientCA)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven // who has none may have a token
	return c, pair.Leaf, nil
}

// certified reports whether our certificate is for that host: a name that is ours.
func (f *tlsFiles) certified(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leaf != nil && f.leaf.VerifyHostname(host) == nil
}
