package api

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
)

// A request that is malformed is refused by name, and nothing is done.
func TestMalformed(t *testing.T) {
	h := open(t)
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ method, path, body, names string }{
		{"POST", "/restores", `{`, "EOF"},
		{"POST", "/restores", `[]`, "object"},
		{"POST", "/restores", `{} {}`, "follows"},
		{"POST", "/restores", `null`, "object"},
		{"POST", "/restores", `{"target":"scratch","as":7}`, "as"},
		{"POST", "/restores", `{"target":"scratch","as":"king"}`, "as"},
		{"POST", "/restores", `{"target":"scratch","backup":"../../etc"}`, "backup"},
		{"POST", "/restores", `{"backup":"latest"}`, "target"},
		{"POST", "/restores", `{"target":"../up"}`, "target"},
		{"POST", "/restores", `{"target":"` + long + `"}`, "target"},
		{"POST", "/restores", `{"target":"a","target":"b"}`, "twice"},
		{"POST", "/restores", `{"target":"a","Target":"b"}`, "Target"},
		{"POST", "/restores", `{"target":"a","hook":"/tmp/x.lua"}`, "hook"},
		{"POST", "/restores", `{"target":` + strings.Repeat("[", 5000), "brackets"},
		{"POST", "/backups", `{"full":true}`, "full"},
		{"POST", "/yield", `{"for":"-5m"}`, "for"},
		{"POST", "/yield", `{"for":"25h"}`, "for"},
		{"POST", "/yield", `{"for":5}`, "for"},
		{"PUT", "/schedule/pause", ``, "until"},
		{"PUT", "/schedule/pause", `{ }`, "until"},
		{"PUT", "/schedule/pause", `{"until":"tomorrow"}`, "tomorrow"},
		{"PUT", "/schedule/pause", `{"until":"2001-01-01T00:00:00Z"}`, "until"},
		{"GET", "/operations?limit=0", ``, "limit"},
		{"GET", "/operations?limit=1&limit=2", ``, "limit"},
		{"GET", "/operations?limit=1001", ``, "limit"},
		{"GET", "/operations?before=a%2Fb", ``, "before"},
		{"GET", "/operations?offset=3", ``, "offset"},
		{"GET", "/operations?limit=%zz", ``, "query"},
		{"GET", "/operations/a%20b", ``, "id"},
		{"GET", "/operations/" + long, ``, "id"},
		{"POST", "/cancel?id=..", ``, "id"},
		{"GET", "/status", `{}`, "body"},
	} {
		status, text := h.ask(Admin, c.method, h.https+c.path, c.body)
		var e Error
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if status != 400 || e.Code != int(code.Usage) || !strings.Contains(e.Error, c.names) {
			t.Errorf("%s %s %.60s: got %d %s, want 400 that names %s", c.method, c.path, c.body, status, text, c.names)
		}
	}
	for _, path := range []string{"/", "//status", "/status/", "/../status", "/Status", "/operations/a/b", "/backups/a%2Fverify/verify/x"} {
		if status, _ := h.ask(Admin, "GET", h.https+path, ""); status != 404 {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
	if status, _ := h.ask(Admin, "PATCH", h.https+"/status", ""); status != 405 {
		t.Errorf("PATCH: got %d, want 405", status)
	}
	r := h.request(Admin, "POST", h.https+"/backups", "")
	r.Header.Set("Idempotency-Key", strings.Repeat("k", 201))
	if status, text := h.do(r); status != 400 || !strings.Contains(text, "Idempotency-Key") {
		t.Errorf("a long key: got %d %s", status, text)
	}
	if len(h.calls) > 0 {
		t.Errorf("the sidecar was asked: %v", h.calls)
	}
}

// E23: where a restore goes is said by the configuration; only an admin of this host may name
// a directory.
func TestTargetsE23(t *testing.T) {
	h := open(t)
	for _, target := range []string{"/etc", "/", "/var/lib/mysql"} {
		status, text := h.ask(Admin, "POST", h.https+"/restores", `{"target":"`+target+`"}`)
		if status != 403 || !strings.Contains(text, "[[restore]]") {
			t.Errorf("%s: got %d %s, want 403", target, status, text)
		}
	}
	if len(h.began) > 0 {
		t.Fatalf("began %v", h.began)
	}
	if status, text := h.ask(Admin, "POST", h.https+"/restores", `{"target":"scratch"}`); status != 202 || h.began["opa"] != (Request{Operation: "restore", Backup: "latest", Target: "scratch", As: "inert"}) {
		t.Errorf("by name: got %d %s, %+v", status, text, h.began)
	}
	if status, text := h.ask(Nobody, "POST", "/restores", `{"target":"/srv/../srv/new","backup":"b1","as":"replica"}`); status != 202 ||
		h.began["opb"] != (Request{Operation: "restore", Backup: "b1", Dir: "/srv/new", As: "replica"}) {
		t.Errorf("on the socket: got %d %s, %+v", status, text, h.began)
	}
}

// The same request with the same key begins one operation; with the same key of somebody else,
// or without one, another.
func TestIdempotency(t *testing.T) {
	h := open(t)
	post := func(role Role, url, body, key string) (int, Started) {
		t.Helper()
		r := h.request(role, "POST", url, body)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		status, text := h.do(r)
		var s Started
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		return status, s
	}
	_, first := post(Admin, h.https+"/backups", "", "k")
	_, again := post(Admin, h.https+"/backups", "{}", "k")
	if first.ID == "" || again.ID != first.ID || !again.Repeated || first.Repeated {
		t.Errorf("got %+v, then %+v", first, again)
	}
	if status, _ := post(Admin, h.https+"/restores", `{"target":"a"}`, "k"); status != 422 {
		t.Errorf("the key of another request: got %d, want 422", status)
	}
	for name, get := range map[string]func() (int, Started){
		"somebody else":  func() (int, Started) { return post(Operate, h.https+"/backups", "", "k") },
		"on the socket":  func() (int, Started) { return post(Nobody, "/backups", "", "k") },
		"without a key":  func() (int, Started) { return post(Admin, h.https+"/backups", "", "") },
		"without, again": func() (int, Started) { return post(Admin, h.https+"/backups", "", "") },
	} {
		if status, other := get(); status != 202 || other.Repeated || other.ID == first.ID {
			t.Errorf("%s: got %d %+v", name, status, other)
		}
	}
}

// E25: cancelling twice, what has ended, what nobody knows, by both routes.
func TestCancelE25(t *testing.T) {
	h := open(t)
	for path, want := range map[string]int{
		"/operations/one/cancel": 200, "/operations/old/cancel": 409, "/operations/none/cancel": 404,
		"/cancel": 200, "/cancel?id=": 200, "/cancel?id=one": 200, "/cancel?id=old": 409, "/cancel?id=none": 404,
	} {
		for range 2 {
			if status, text := h.ask(Operate, "POST", h.https+path, ""); status != want {
				t.Errorf("%s: got %d %s, want %d", path, status, text, want)
			}
		}
	}
}

// S1.5: the percentage is 0 to 100 in the live phase preparing_backup, and null in every other.
func TestRestoreStatus(t *testing.T) {
	h := open(t)
	for phase, want := range map[string]string{"preparing_backup": "42", "idle": "null", "getting_backup_info": "null", "restoring_basebackup": "null",
		"finalizing": "null", "completed": "null", "failed": "null", "cancelled": "null"} {
		percent := 42
		h.fake.mu.Lock()
		h.restore = RestoreStatus{Phase: phase, PrepareProgress: &percent}
		h.fake.mu.Unlock()
		for _, role := range []Role{Read, Admin} {
			if _, text := h.ask(role, "GET", h.https+"/status/restore", ""); !strings.Contains(text, `"basebackup_prepare_progress":`+want+",") {
				t.Errorf("%s as %v: got %s, want %s", phase, role, text, want)
			}
		}
	}
}

// What package control's client reads of the status of an operation is there.
func TestControlReadsStatus(t *testing.T) {
	h := open(t)
	_, text := h.ask(Nobody, "GET", "/status", "")
	var now control.Status
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	var all, known map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(back, &known); err != nil {
		t.Fatal(err)
	}
	for name, want := range known {
		if got, _ := json.Marshal(all[name]); string(got) != string(must(json.Marshal(want))) || strings.HasPrefix(string(got), "0") {
			t.Errorf("%s: got %s, control reads %v", name, got, want)
		}
	}
	if len(known) < 13 {
		t.Errorf("control reads %d fields: %s", len(known), back)
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// Every call that changes something leaves one line, refused or not, and no other does.
func TestAudit(t *testing.T) {
	h := open(t)
	h.ask(Admin, "POST", h.https+"/restores", `{"target":"scratch","backup":"b1"}`)
	h.ask(Read, "POST", h.https+"/backups/b1/verify", "")
	h.ask(Operate, "POST", h.https+"/backups", `{"x":1}`)
	h.fake.set(errWith(code.Busy), false)
	h.ask(Nobody, "DELETE", "/backups/b1", "")
	h.fake.set(nil, false)
	me := h.by.Name
	for _, rt := range routes() {
		if rt.method == "GET" && rt.path != "/events" && rt.path != "/operations/{id}/events" {
			h.ask(Admin, "GET", h.https+strings.Replace(rt.path, "{id}", "one", 1), "")
		}
	}
	lines := h.lines()
	if len(lines) != 4 {
		t.Fatalf("got %d lines: %+v", len(lines), lines)
	}
	for i, want := range []struct {
		by, from, what string
		status         int
		id, err        string
	}{
		{"admin", "127.0.0.1", `POST /restores {"backup":"b1","target":"scratch"}`, 202, "opa", ""},
		{"read", "127.0.0.1", "POST /backups/b1/verify", 403, "", "role read"},
		{"operate", "127.0.0.1", "POST /backups", 400, "", "unknown field"},
		{me, "socket", "DELETE /backups/b1", 409, "", secretText},
	} {
		e := lines[i]
		if e.By.Name != want.by || e.By.From != want.from || e.What != want.what || e.Status != want.status || e.ID != want.id ||
			(e.Err == nil) != (want.err == "") || e.Err != nil && !strings.Contains(e.Err.Error(), want.err) || time.Since(e.Time) > time.Hour {
			t.Errorf("line %d: got %+v, want %+v", i, e, want)
		}
	}
}

// Who hangs up does not stop half way what he has begun.
func TestHangingUp(t *testing.T) {
	h := open(t)
	ctx, hangUp := context.WithCancel(t.Context())
	h.starting = func(ctx context.Context) {
		hangUp()
		if err := ctx.Err(); err != nil {
			t.Errorf("the start was stopped: %v", err)
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the start has no deadline")
		}
	}
	r := httptest.NewRequestWithContext(context.WithValue(ctx, peerKey{}, peer{0, true}), "POST", "http://localhost/backups", nil)
	h.handle(&door{socket: true}, httptest.NewRecorder(), r)
	if len(h.began) != 1 {
		t.Errorf("began %v", h.began)
	}
}

// Deleting is for whom the configuration allows it, too.
func TestDeleteNotAllowed(t *testing.T) {
	h := open(t)
	if status, _ := h.ask(Admin, "DELETE", h.https+"/backups/b1", ""); status != 204 {
		t.Errorf("allowed: got %d, want 204", status)
	}
	h.access.Delete = false
	if err := h.Change(h.access); err != nil {
		t.Fatal(err)
	}
	calls := len(h.calls)
	if status, text := h.ask(Admin, "DELETE", h.https+"/backups/b1", ""); status != 403 || len(h.calls) != calls {
		t.Errorf("not allowed: got %d %s", status, text)
	}
}

// A fault of ours is answered, and where it is stands in the log alone.
func TestPanic(t *testing.T) {
	h := open(t)
	h.fake.set(nil, true)
	status, text := h.ask(Admin, "GET", h.https+"/status", "")
	if status != 500 || strings.Contains(text, "disco") || strings.Contains(text, ".go") {
		t.Errorf("got %d %s", status, text)
	}
	lines := h.lines()
	if len(lines) != 1 || !strings.Contains(lines[0].Err.Error(), "fixture_test.go") || !strings.Contains(text, lines[0].Request) {
		t.Errorf("the log has %+v", lines)
	}
	h.fake.set(nil, false)
	if status, _ := h.ask(Admin, "GET", h.https+"/status", ""); status != 200 {
		t.Errorf("afterwards: got %d", status)
	}
}

// Whatever the body: no panic, and what is taken is an object whose names are each there once
// and as they are written, and means the same when it is written again.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"target":"a"}`, `{"target":"a","backup":"latest","as":"inert"}`, `{`, `[[`, `{"target":null}`, `{"Target":"a"}`, `{"target":"\ud800"}`, "{}{}", ``, `{"":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var in RestoreRequest
		if err := decode(text, &in); err != nil {
			if statusOf(err) != 400 || code.Of(err) != code.Usage {
				t.Errorf("%q: %v is no error of the request", text, err)
			}
			return
		}
		if text == nil {
			return
		}
		var names map[string]*string
		if err := json.Unmarshal(text, &names); err != nil {
			t.Fatalf("%q was taken: %v", text, err)
		}
		for name, value := range names {
			want := map[string]string{"target": in.Target, "backup": in.Backup, "as": in.As}
			got, known := want[name]
			if !known || value != nil && *value != got {
				t.Errorf("%q: %s is %q", text, name, got)
			}
		}
		again, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var same RestoreRequest
		if err := decode(again, &same); err != nil || same != in {
			t.Errorf("%q became %+v, again %+v, %v", text, in, same, err)
		}
	})
}

// FuzzFind: a path leads to a route or to none, and an id in it has no slash.
func FuzzFind(f *testing.F) {
	for _, rt := range routes() {
		f.Add(rt.method, rt.path)
	}
	all := routes()
	f.Fuzz(func(t *testing.T, method, path string) {
		rt, id, allowed := find(all, method, path)
		if rt != nil && (strings.Replace(rt.path, "{id}", id, 1) != path || strings.Contains(id, "/") || rt.method != method || allowed != nil) {
			t.Errorf("%s %q leads to %s with id %q", method, path, rt.path, id)
		}
	})
}
