package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// E20: without a token, with a wrong one, with one of another scheme: one answer, with no detail.
func TestNobodyE20(t *testing.T) {
	h := open(t)
	ways := map[string]func(r *http.Request){
		"no token":        func(*http.Request) {},
		"wrong token":     func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 43)) },
		"an empty one":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
		"another scheme":  func(r *http.Request) { r.Header.Set("Authorization", "Basic "+h.tokens[Admin]) },
		"one and another": func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + h.tokens[Admin], "Bearer x"} },
		"a path that is none": func(r *http.Request) {
			r.URL.Path = "/nothing"
		},
	}
	for name, change := range ways {
		r := h.request(Nobody, "GET", h.https+"/status", "")
		change(r)
		status, text := h.do(r)
		if want := `{"error":"not authorized","code":12}` + "\n"; status != 401 || text != want {
			t.Errorf("%s: got %d %s, want 401 %s", name, status, text, want)
		}
	}
	if len(h.calls) > 0 {
		t.Errorf("the sidecar was asked: %v", h.calls)
	}
	if lines := h.lines(); len(lines) != 4 { // who presents nothing is not worth a line
		t.Errorf("got %d lines in the log, want one for each that was presented: %v", len(lines), lines)
	}
}

// After too many wrong tokens from an address nobody is heard from there, with a right one either.
func TestTooManyAttempts(t *testing.T) {
	h := open(t)
	for range mayFail {
		r := h.request(Nobody, "GET", h.https+"/status", "")
		r.Header.Set("Authorization", "Bearer guess")
		if status, _ := h.do(r); status != 401 {
			t.Fatalf("got %d, want 401", status)
		}
	}
	if status, text := h.ask(Admin, "GET", h.https+"/status", ""); status != 429 || !strings.Contains(text, `"error"`) {
		t.Errorf("got %d %s, want 429", status, text)
	}
	if status, _ := h.ask(Nobody, "GET", "/status", ""); status != 200 {
		t.Errorf("the socket: got %d, want 200", status)
	}
	var f failures
	now := time.Now()
	for range mayFail {
		f.add("2001:db8::1", now)
	}
	if !f.blocked("2001:db8::2", now) || f.blocked("2001:db8:0:1::1", now) || f.blocked("2001:db8::1", now.Add(failsFor)) {
		t.Error("want the whole /64 blocked, no other, and only for a while")
	}
	for i := range 3 * addresses {
		f.add(net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String(), now)
	}
	if len(f.from) > addresses {
		t.Errorf("remembers %d addresses, want at most %d", len(f.from), addresses)
	}
}

// Each role may do what its routes say, and no other.
func TestRoles(t *testing.T) {
	h := open(t)
	for _, rt := range routes() {
		for role := Read; role <= Admin; role++ {
			if role >= rt.role {
				continue
			}
			// What is malformed is not even looked at.
			status, text := h.ask(role, rt.method, h.https+strings.Replace(rt.path, "{id}", "%00", 1)+"?x=%zz", "{")
			if status != 403 {
				t.Errorf("%s %s as %v: got %d %s, want 403", rt.method, rt.path, role, status, text)
			}
		}
	}
	if len(h.calls) > 0 {
		t.Errorf("the sidecar was asked: %v", h.calls)
	}
}

// Who may only read gets no paths, no texts of errors, no configuration: from no route, in no
// answer, be it good or bad.
func TestReadersSeeNoSecrets(t *testing.T) {
	for _, failing := range []error{nil, errWith(code.Storage), errWith(code.Usage), errWith(code.ServerGone), errWith(code.Busy)} {
		h := open(t, func(s *Server) { s.limits.heartbeat = time.Millisecond })
		h.fake.set(failing, false)
		h.tell(run.Event{Kind: run.KindWarning, ID: "old", Message: secretText})
		h.tell(run.Event{Kind: run.KindError, ID: "old", Message: secretText, Error: secretText, Hint: secretPath})
		h.tell(run.Event{Kind: run.KindEnd, ID: "old", State: run.Failed, Message: secretText, Error: secretText, Errors: []string{secretText}, Hint: secretPath, Leftovers: []string{secretPath},
			Result: map[string]string{"target": secretPath}})
		seen := 0
		for _, rt := range routes() {
			if rt.method != "GET" || rt.path == "/events" {
				continue
			}
			_, text := h.ask(Read, "GET", h.https+strings.Replace(rt.path, "{id}", "old", 1), "")
			if strings.Contains(text, "canary") {
				t.Errorf("%s failing with %v: %s", rt.path, failing, text)
			}
			if _, full := h.ask(Operate, "GET", h.https+strings.Replace(rt.path, "{id}", "old", 1), ""); strings.Contains(full, "canary") {
				seen++
			}
			if rt.probe {
				if _, text := h.ask(Nobody, "GET", h.probes+rt.path, ""); strings.Contains(text, "canary") {
					t.Errorf("probe %s failing with %v: %s", rt.path, failing, text)
				}
			}
		}
		if seen < 5 {
			t.Errorf("failing with %v: who may operate sees it in %d answers: this test looks at the wrong things", failing, seen)
		}
		if failing == nil {
			continue
		}
		// What was withheld is in the log, under the name that the answer has.
		_, text := h.ask(Read, "GET", h.https+"/backups", "")
		lines := h.lines()
		last := lines[len(lines)-1]
		if last.Request == "" || !strings.Contains(text, last.Request) || !strings.Contains(last.Err.Error(), secretText) {
			t.Errorf("got %s, and in the log %+v", text, last)
		}
	}
}

// A certificate of a client is somebody by one of its names; a token that is presented beside
// it decides.
func TestCertificates(t *testing.T) {
	h := open(t)
	call := func(name string, token string) int {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: h.ca.pool, Certificates: []tls.Certificate{h.ca.client(name)}}}}
		r := h.request(Nobody, "POST", h.https+"/reload", "")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := call("dba@example.com", ""); got != 200 || h.by.Name != "dba@example.com" || h.by.From != "127.0.0.1" {
		t.Errorf("a known name: got %d as %+v", got, h.by)
	}
	if got := call("dba@example.com.evil.com", ""); got != 401 {
		t.Errorf("an unknown name: got %d, want 401", got)
	}
	if got := call("dba@example.com", "nonsense"); got != 401 {
		t.Errorf("with a wrong token: got %d, want 401", got)
	}
	if got := call("dba@example.com", h.tokens[Read]); got != 403 {
		t.Errorf("with the token of a reader: got %d, want 403", got)
	}
	other := newCA(t) // signs whatever is asked for
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.ca.pool, Certificates: []tls.Certificate{other.client("dba@example.com")}}}}
	res, err := c.Do(h.request(Nobody, "POST", h.https+"/reload", ""))
	if err == nil {
		res.Body.Close()
		if res.StatusCode != 401 {
			t.Errorf("signed by a stranger: got %d", res.StatusCode)
		}
	}
}

// On the socket the kernel says who asks.
func TestPeers(t *testing.T) {
	h := open(t)
	if status, _ := h.ask(Nobody, "POST", "/reload", ""); status != 200 || h.by.Role != Admin || h.by.From != "socket" {
		t.Errorf("we ourselves: got %d as %+v", status, h.by)
	}
	a, err := Access{Peers: []Peer{{"4242", Read}}}.check()
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]Role{0: Admin, 4242: Read, 4243: Nobody} {
		if name, got := a.byPeer(peer{uid, true}); got != want {
			t.Errorf("uid %d: got %v (%s), want %v", uid, got, name, want)
		}
	}
	if _, got := a.byPeer(peer{}); got != Nobody { // 0 is root's uid, and what nobody could tell
		t.Errorf("an unknown peer: got %v", got)
	}
}

// E21: pages of others, and names that were made to point here.
func TestBrowsersE21(t *testing.T) {
	h := open(t)
	ok := h.access
	ok.AllowedHosts = []string{"backup.example.com"}
	if err := h.Change(ok); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, origin, site string
		want               int
	}{
		{want: 200},
		{host: "localhost", want: 200},
		{host: "LOCALHOST.:1", want: 200},
		{host: "[::1]:7171", want: 200},
		{host: "backup.example.com", want: 200},
		{host: "db1.example.com", want: 200}, // the certificate is for that name
		{host: "evil.example.com", want: 421},
		{host: "10.0.0.1", want: 421},
		{host: "localhost.evil.com", want: 421},
		{origin: "https://evil.example.com", want: 403},
		{origin: "null", want: 403},
		{origin: "https://backup.example.com", want: 200},
		{site: "cross-site", want: 403},
		{site: "same-site", want: 403},
		{site: "same-origin", want: 200},
	} {
		for _, at := range []string{h.https, ""} {
			if at == "" && c.host == "db1.example.com" {
				continue
			}
			r := h.request(Admin, "GET", at+"/status", "")
			if c.host != "" {
				r.Host = c.host
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			res, err := h.client(r).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != c.want {
				t.Errorf("%q: %+v: got %d", at, c, res.StatusCode)
			}
			for name := range res.Header {
				if strings.HasPrefix(name, "Access-Control") {
					t.Errorf("%+v: answers %s", c, name)
				}
			}
		}
	}
	r := h.request(Admin, "OPTIONS", h.https+"/backups", "")
	r.Header.Set("Access-Control-Request-Method", "POST")
	if status, _ := h.do(r); status != 405 {
		t.Errorf("a preflight: got %d, want 405", status)
	}
}

// A token in a URL is refused before it is looked at, and stands in no log.
func TestTokenInURL(t *testing.T) {
	h := open(t)
	for _, name := range secretWords {
		status, text := h.ask(Nobody, "GET", h.https+"/events?"+name+"="+h.tokens[Admin], "")
		if status != 400 || !strings.Contains(text, "Authorization: Bearer") {
			t.Errorf("%s: got %d %s", name, status, text)
		}
	}
}

// E19: whatever is done with a token, right or wrong, no answer and no line of the log has it.
func TestCanaryE19(t *testing.T) {
	h := open(t)
	const wrong = "canary-canary-canary-canary"
	var all strings.Builder
	for _, token := range []string{h.tokens[Admin], wrong} {
		for _, rt := range routes() {
			if rt.path == "/events" {
				continue
			}
			for _, url := range []string{rt.path, rt.path + "?token=" + token, rt.path + "?x=1", strings.Replace(rt.path, "{id}", "one", 1)} {
				r := h.request(Nobody, rt.method, h.https+url, `{"token":"x"}`)
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("Cookie", token)
				_, text := h.do(r)
				all.WriteString(text)
			}
		}
	}
	for _, e := range h.lines() {
		all.WriteString(e.What + e.By.Name + e.Request)
		if e.Err != nil {
			all.WriteString(e.Err.Error())
		}
	}
	for _, secret := range []string{h.tokens[Admin], h.access.Tokens[2].SHA256, wrong} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%s is in an answer or in the log", secret)
		}
	}
}

// What would be open to anybody is not opened.
func TestNotOpened(t *testing.T) {
	pair := newCA(t)
	_, digest := NewToken()
	token := Access{Tokens: []Token{{"anna", digest, Read}}}
	files := TLS{Certificate: pair.cert, Key: pair.key}
	for _, c := range []struct {
		name, address string
		access        Access
		tls           TLS
	}{
		{"plain TCP", "0.0.0.0:0", token, files},
		{"plain TCP by name", "tcp:127.0.0.1:0", token, files},
		{"no port", "tls:127.0.0.1", token, files},
		{"nobody known", "tls:0.0.0.0:0", Access{}, files},
		{"a CA and no name", "tls:0.0.0.0:0", Access{}, TLS{pair.cert, pair.key, pair.cert}},
		{"names and no CA", "tls:0.0.0.0:0", Access{Certificates: []Certificate{{"dba", Read}}}, files},
		{"no certificate", "tls:127.0.0.1:0", token, TLS{}},
		{"no such certificate", "tls:127.0.0.1:0", token, TLS{Certificate: "/nowhere", Key: pair.key}},
		{"a CA that is a key", "tls:127.0.0.1:0", token, TLS{pair.cert, pair.key, pair.key}},
	} {
		s, err := New(Config{Sidecar: newFake(), Access: c.access})
		if err != nil {
			t.Fatal(err)
		}
		if at, err := s.Listen(c.address, c.tls); code.Of(err) != code.Usage {
			t.Errorf("%s: listens at %v with %v, want an error of usage", c.name, at, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for name, a := range map[string]Access{
		"no digest":      {Tokens: []Token{{"anna", "secret", Read}}},
		"a short digest": {Tokens: []Token{{"anna", digest[:62], Read}}},
		"no role":        {Tokens: []Token{{"anna", digest, Nobody}}},
		"no name":        {Tokens: []Token{{"", digest, Read}}},
		"one name twice": {Tokens: []Token{{"anna", digest, Read}, {"anna", digest, Admin}}},
		"no such user":   {Peers: []Peer{{"nobody-of-that-name", Read}}},
		"peer, no role":  {Peers: []Peer{{"root", Nobody}}},
		"host with path": {AllowedHosts: []string{"a/b"}},
		"any host":       {AllowedHosts: []string{"*"}},
	} {
		if _, err := New(Config{Sidecar: newFake(), Access: a}); code.Of(err) != code.Usage {
			t.Errorf("%s: got %v, want an error of usage", name, err)
		}
	}
	weak := token
	weak.Tokens = []Token{{"anna", "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90", Admin}} // of "alice"
	a, err := weak.check()
	if err != nil {
		t.Fatal(err)
	}
	if name, role := a.byToken("alice"); role != Nobody || name != "" {
		t.Errorf("a token of five letters: got %v", role)
	}
}

// The door for probes has health and metrics behind it, and nothing else, whoever asks.
func TestProbes(t *testing.T) {
	h := open(t)
	for _, rt := range routes() {
		want := 404
		if rt.probe {
			want = 200
		}
		r := h.request(Admin, rt.method, h.probes+strings.Replace(rt.path, "{id}", "one", 1), "")
		if status, text := h.do(r); status != want {
			t.Errorf("%s %s: got %d %s, want %d", rt.method, rt.path, status, text, want)
		}
	}
	h.fake.set(errWith(code.ServerGone), false)
	if status, _ := h.ask(Nobody, "GET", h.probes+"/readyz", ""); status != 503 {
		t.Errorf("not ready: got %d, want 503", status)
	}
}

// New files of a certificate are in force at the next handshake; broken ones are not.
func TestCertificateChanges(t *testing.T) {
	h := open(t)
	subject := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(h.https, "https://"), &tls.Config{RootCAs: h.ca.pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	h.ca.write("longer-than-it-was.example.com")
	if got := subject(); got != "longer-than-it-was.example.com" {
		t.Errorf("got %s after the change", got)
	}
	cert := h.ca.cert
	h.ca.cert = h.ca.key // the key's file now has a key that is another certificate's
	h.ca.write("broken")
	h.ca.cert = cert
	if got := subject(); got != "longer-than-it-was.example.com" {
		t.Errorf("got %s with broken files", got)
	}
}
