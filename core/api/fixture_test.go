package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// fake is a Sidecar in memory. path and text stand for what only some may see.
type fake struct {
	mu       sync.Mutex
	err      error // of every call that can fail
	began    map[string]Request
	calls    []string
	by       Actor
	state    map[string]run.State // of operations
	events   []Event
	more     chan struct{} // closed and made anew when there are more
	behind   bool
	panics   bool
	postpone bool
	restore  RestoreStatus
	starting func(context.Context) // if not nil, called by Start
}

const (
	secretPath = "/canary/path"
	secretText = "canary text of an error"
)

func newFake() *fake {
	return &fake{began: map[string]Request{}, state: map[string]run.State{"one": state.Running, "old": run.Complete}, more: make(chan struct{})}
}

func (f *fake) called(what string, by Actor) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("at the disco")
	}
	f.calls, f.by = append(f.calls, what), by
	return f.err
}

func (f *fake) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("at the disco")
	}
	percent := 7
	return Status{State: "running", Operation: "restore", ID: "one", PID: 1, Started: time.Now(), RequestedBy: "api:anna", Phase: "preparing_backup", Percent: &percent,
		Bytes: 1, TotalBytes: 2, ETASeconds: 3, Databases: []string{"shop"}, Target: secretPath, InterruptedBy: "api:anna", Server: "up",
		Next: &Scheduled{"backup", time.Now()}, PausedUntil: time.Now(), Postponed: true, Since: time.Now(), Version: "v1"}
}

func (f *fake) Restore() RestoreStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restore
}

func (f *fake) Start(ctx context.Context, r Request, by Actor) (Started, error) {
	if f.starting != nil {
		f.starting(ctx)
	}
	if err := f.called("start "+r.Operation, by); err != nil {
		return Started{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Backup == "none" {
		return Started{}, ErrUnknown
	}
	for id, before := range f.began {
		if r.Key != "" && before.Key == r.Key {
			if before != r {
				return Started{}, ErrReused
			}
			return Started{ID: id, Operation: r.Operation, Repeated: true}, nil
		}
	}
	id := "op" + string(rune('a'+len(f.began)))
	f.began[id] = r
	f.state[id] = state.Running
	return Started{ID: id, Operation: r.Operation}, nil
}

func (f *fake) Cancel(_ context.Context, id string, by Actor) (Status, error) {
	if err := f.called("cancel "+id, by); err != nil {
		return Status{}, err
	}
	f.mu.Lock()
	was := f.state[id]
	f.mu.Unlock()
	switch {
	case id != "" && was == "":
		return Status{}, ErrUnknown
	case was == run.Complete:
		return Status{}, ErrEnded
	}
	return f.Status(), nil
}

func (f *fake) Reload(_ context.Context, by Actor) (Reloaded, error) {
	r := Reloaded{State: "done"}
	if f.postpone {
		r = Reloaded{State: "postponed", Phase: "preparing_backup", Reason: "a restore is being prepared"}
	}
	return r, f.called("reload", by)
}

func (f *fake) Yield(_ context.Context, d time.Duration, by Actor) (Yielded, error) {
	return Yielded{true, time.Now().Add(d)}, f.called("yield "+d.String(), by)
}

func (f *fake) Pause(_ context.Context, until time.Time, by Actor) error {
	return f.called("pause "+until.Format(time.RFC3339), by)
}

func (f *fake) Operations(context.Context, int, string) ([]state.Operation, error) {
	return []state.Operation{f.operation("one"), f.operation("old")}, f.called("operations", Actor{})
}

func (f *fake) operation(id string) state.Operation {
	f.mu.Lock()
	defer f.mu.Unlock()
	ms := 1.5
	return state.Operation{ID: id, Operation: "backup", State: f.state[id], Started: time.Now(), Error: secretText, Errors: []string{secretText},
		Target: secretPath, Leftovers: []string{secretPath}, LockMS: &ms, LockWaitMS: &ms, Host: "db1", PID: 1, Plugins: []string{"storage:" + secretPath}}
}

func (f *fake) Operation(_ context.Context, id string) (state.Operation, error) {
	if err := f.called("operation "+id, Actor{}); err != nil {
		return state.Operation{}, err
	}
	o := f.operation(id)
	if o.State == "" {
		return o, ErrUnknown
	}
	return o, nil
}

func (f *fake) Backups(context.Context) ([]repo.Listed, error) {
	return []repo.Listed{{ID: "b1", State: "damaged", Error: secretText}}, f.called("backups", Actor{})
}

func (f *fake) Backup(_ context.Context, id string) (Backup, error) {
	if id == "none" {
		return Backup{}, ErrUnknown
	}
	return Backup{repo.Listed{ID: id, State: "complete", Error: secretText}, json.RawMessage(`{"path":"` + secretPath + `"}`)}, f.called("backup", Actor{})
}

func (f *fake) DeleteBackup(_ context.Context, id string, by Actor) error {
	if id == "none" {
		return ErrUnknown
	}
	return f.called("delete "+id, by)
}

func (f *fake) Configuration() map[string]any {
	return map[string]any{"state": map[string]any{"dir": secretPath}}
}

func (f *fake) Ready() error { return f.called("ready", Actor{}) }

func (f *fake) Live() error { return f.called("live", Actor{}) }

// tell adds an event.
func (f *fake) tell(e run.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.RequestedBy = "api:anna"
	f.events = append(f.events, Event{Number: uint64(len(f.events) + 1), Event: e})
	close(f.more)
	f.more = make(chan struct{})
}

func (f *fake) Events(after uint64) Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	newest := uint64(len(f.events))
	return &subscription{f: f, next: min(after, newest), newest: newest}
}

type subscription struct {
	f            *fake
	next, newest uint64
}

func (s *subscription) Next(ctx context.Context) (Event, error) {
	for {
		s.f.mu.Lock()
		if s.f.behind {
			s.f.mu.Unlock()
			return Event{}, ErrBehind
		}
		if s.next < uint64(len(s.f.events)) {
			e := s.f.events[s.next]
			s.next++
			s.f.mu.Unlock()
			return e, nil
		}
		more := s.f.more
		s.f.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

func (s *subscription) Lost() bool     { return false }
func (s *subscription) Newest() uint64 { return s.newest }
func (s *subscription) Close()         {}

// house is a server with all its doors, and who may come in.
type house struct {
	*fake
	*Server
	t      testing.TB
	tokens map[Role]string
	access Access
	unix   *http.Client // http://localhost
	net    *http.Client // https://ADDRESS
	https  string
	probes string
	ca     *ca

	mu      sync.Mutex
	entries []Entry
}

func open(t testing.TB, change ...func(*Server)) *house {
	t.Helper()
	h := &house{fake: newFake(), t: t, tokens: map[Role]string{}, ca: newCA(t)}
	h.access.Delete = true
	for r := Read; r <= Admin; r++ {
		secret, digest := NewToken()
		h.tokens[r] = secret
		h.access.Tokens = append(h.access.Tokens, Token{r.String(), digest, r})
	}
	h.access.Certificates = []Certificate{{"dba@example.com", Admin}}
	note := func(e Entry) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.entries = append(h.entries, e)
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "remora_up 1\n") })
	s, err := New(Config{Sidecar: h.fake, Access: h.access, Metrics: metrics, Audit: note})
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	for _, f := range change {
		f(s)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
	at, err := s.Listen("tls:127.0.0.1:0", TLS{Certificate: h.ca.cert, Key: h.ca.key, ClientCA: h.ca.cert})
	if err != nil {
		t.Fatal(err)
	}
	probes, err := s.Probes("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.https, h.probes = "https://"+at.String(), "http://"+probes.String()
	h.unix = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	h.net = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.ca.pool}}}
	t.Cleanup(func() {
		h.unix.CloseIdleConnections()
		h.net.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// request makes one for the door of the network with the token of that role, or, for a path
// without a host, for the socket.
func (h *house) request(role Role, method, url, body string) *http.Request {
	h.t.Helper()
	socket := strings.HasPrefix(url, "/")
	if socket {
		url = "http://localhost" + url
	}
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(h.t.Context(), method, url, from)
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if !socket && role > Nobody {
		r.Header.Set("Authorization", "Bearer "+h.tokens[role])
	}
	return r
}

func (h *house) client(r *http.Request) *http.Client {
	if r.URL.Scheme == "http" && r.URL.Host == "localhost" {
		return h.unix
	}
	return h.net
}

// do returns the status and the text of an answer.
func (h *house) do(r *http.Request) (int, string) {
	h.t.Helper()
	res, err := h.client(r).Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (h *house) ask(role Role, method, url, body string) (int, string) {
	h.t.Helper()
	return h.do(h.request(role, method, url, body))
}

// lines are the entries of the log so far.
func (h *house) lines() []Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries)
}

// ca is a certificate for 127.0.0.1 that signs others.
type ca struct {
	t         testing.TB
	cert, key string // files
	pool      *x509.CertPool
	own       *x509.Certificate
	secret    *ecdsa.PrivateKey
}

func newCA(t testing.TB) *ca {
	t.Helper()
	c := &ca{t: t, cert: filepath.Join(t.TempDir(), "cert"), key: filepath.Join(t.TempDir(), "key"), pool: x509.NewCertPool()}
	c.write("db1.example.com")
	return c
}

// write makes a new pair of files.
func (c *ca) write(name string) {
	c.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	c.own, c.secret = nil, nil
	own, secret := c.sign(template)
	c.own, c.secret = own, secret
	c.pool.AddCert(own)
	key, err := x509.MarshalPKCS8PrivateKey(secret)
	err = errors.Join(err,
		os.WriteFile(c.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Raw}), 0o600),
		os.WriteFile(c.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	if err != nil {
		c.t.Fatal(err)
	}
}

// sign signs a certificate, by itself if there is no other yet.
func (c *ca) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	parent, by := c.own, c.secret
	if parent == nil {
		parent, by = template, secret
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &secret.PublicKey, by)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert, secret
}

// client is what a client shows that has that common name.
func (c *ca) client(name string) tls.Certificate {
	c.t.Helper()
	cert, secret := c.sign(&x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: secret}
}

// errWith is an error of a Sidecar with a code and what not everybody may see.
func errWith(c code.Code) error { return code.Hint(c, secretPath, secretText) }
