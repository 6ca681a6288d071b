package api

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// events reads a stream: one line for each event, "kind id data"; comments are left out.
type events struct {
	t    *testing.T
	res  *http.Response
	scan *bufio.Scanner
}

func (h *house) events(role Role, url, last string) *events {
	h.t.Helper()
	r := h.request(role, "GET", url, "")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	res, err := h.client(r).Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { res.Body.Close() })
	e := &events{h.t.(*testing.T), res, bufio.NewScanner(res.Body)}
	e.scan.Buffer(nil, 4<<20)
	if res.StatusCode != 200 {
		h.t.Fatalf("got %s", res.Status)
	}
	if !e.scan.Scan() || e.scan.Text() != ": remora" {
		h.t.Fatalf("begins with %q", e.scan.Text())
	}
	return e
}

// next is "" at the end.
func (e *events) next() string {
	var kind, id, data string
	for e.scan.Scan() {
		name, value, _ := strings.Cut(e.scan.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if data != "" {
				return strings.Join(strings.Fields(kind+" "+id), " ") + " " + data
			}
		}
	}
	return ""
}

// kinds reads to the end.
func (e *events) kinds() (all []string) {
	for {
		line := e.next()
		if line == "" {
			return all
		}
		kind, rest, _ := strings.Cut(line, " ")
		if kind == "closed" || kind == "lost" {
			kind += " " + rest
		} else {
			id, _, _ := strings.Cut(rest, " ")
			kind += " " + id
		}
		all = append(all, kind)
	}
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestEvents(t *testing.T) {
	h := open(t, func(s *Server) { s.limits.heartbeat = 10 * time.Millisecond })
	h.tell(run.Event{Kind: run.KindStart, ID: "old", Operation: "backup"})
	h.tell(run.Event{Kind: run.KindStart, ID: "one", Operation: "restore"})
	h.tell(run.Event{Kind: run.KindEnd, ID: "old", State: run.Complete})
	h.tell(run.Event{Kind: run.KindPhase, ID: "one", Phase: "preparing_backup", Message: secretText})

	live := h.events(Read, h.https+"/events", "")
	h.tell(run.Event{Kind: run.KindProgress, ID: "one"})
	if got := live.next(); !strings.HasPrefix(got, `progress 5 {"seq":0,`) || !strings.HasSuffix(got, `"requested_by":"api:anna"}`) {
		t.Errorf("from now on: got %s", got)
	}
	resumed := h.events(Operate, h.https+"/events", "2")
	if got := resumed.next() + resumed.next(); !strings.Contains(got, "end 3") || !strings.Contains(got, "phase 4") || !strings.Contains(got, secretText) {
		t.Errorf("after 2: got %s", got)
	}
	expect(t, "an operation that has ended", h.events(Read, h.https+"/operations/old/events", "").kinds(), "start 1", "end 3", `closed {"reason":"ended"}`)
	expect(t, "after its end", h.events(Read, h.https+"/operations/old/events", "5").kinds(), `closed {"reason":"ended"}`)
	one := h.events(Read, "/operations/one/events", "")
	h.tell(run.Event{Kind: run.KindEnd, ID: "one", State: run.Complete})
	expect(t, "one that goes on", one.kinds(), "start 2", "phase 4", "progress 5", "end 6", `closed {"reason":"ended"}`)
	expect(t, "a number of another life", h.events(Read, "/operations/old/events", "777").kinds(), `lost {"after":777}`, "start 1", "end 3", `closed {"reason":"ended"}`)
	if status, _ := h.ask(Read, "GET", h.https+"/operations/none/events", ""); status != 404 {
		t.Errorf("an unknown operation: got %d", status)
	}
	r := h.request(Read, "GET", h.https+"/events", "")
	r.Header.Set("Last-Event-ID", "-1")
	if status, text := h.do(r); status != 400 || !strings.Contains(text, "Last-Event-ID") {
		t.Errorf("a number that is none: got %d %s", status, text)
	}
}

// A slow reader is told that he was dropped; so is who may not read any more, at once, and
// nobody else; and all when the sidecar ends.
func TestEndsOfStreams(t *testing.T) {
	h := open(t)
	read, admin, socket := h.events(Read, h.https+"/events", ""), h.events(Admin, h.https+"/events", ""), h.events(Nobody, "/events", "")
	fewer := h.access
	fewer.Tokens = fewer.Tokens[1:] // Read's is gone
	if err := h.Change(fewer); err != nil {
		t.Fatal(err)
	}
	expect(t, "revoked", read.kinds(), `closed {"reason":"revoked"}`)
	lower := fewer
	lower.Tokens = slices.Clone(fewer.Tokens)
	lower.Tokens[1].Role = Read // the admin's
	if err := h.Change(lower); err != nil {
		t.Fatal(err)
	}
	expect(t, "with another role", admin.kinds(), `closed {"reason":"revoked"}`)
	h.fake.mu.Lock()
	h.behind = true
	close(h.more)
	h.more = make(chan struct{})
	h.fake.mu.Unlock()
	expect(t, "slow", socket.kinds(), `closed {"reason":"behind"}`)

	other := open(t)
	open := other.events(Read, other.https+"/events", "")
	if err := other.Close(t.Context()); err != nil {
		t.Error(err)
	}
	expect(t, "at the end", open.kinds(), `closed {"reason":"closing"}`)
}

// A stream lives longer than what a request may take to come in.
func TestStreamOutlivesRequest(t *testing.T) {
	h := open(t, func(s *Server) {
		s.limits.read, s.limits.heartbeat = time.Second, 100*time.Millisecond
	})
	for _, url := range []string{h.https + "/events", "/events"} {
		e := h.events(Read, url, "")
		for beats := 0; beats < 15; {
			if !e.scan.Scan() {
				t.Fatalf("%s ended after %d signs of life", url, beats)
			}
			if e.scan.Text() == ": alive" {
				beats++
			}
		}
	}
}

// Who takes nothing is dropped once the kernel holds no more for him, and nobody waits.
func TestHangingReader(t *testing.T) {
	h := open(t, func(s *Server) { s.limits.answer = 3 * time.Second })
	h.events(Nobody, "/events", "") // and never read
	other := h.events(Nobody, "/events", "")
	big := strings.Repeat("x", 1<<20)
	for range 8 { // more than two sockets hold
		h.tell(run.Event{Kind: run.KindNote, ID: "one", Message: big})
		if other.next() == "" {
			t.Fatal("the other one got no events")
		}
	}
	for len(h.openStreams()) > 1 {
		time.Sleep(time.Millisecond) // go test bounds it
	}
}

func (s *Server) openStreams() (all []*stream) {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	for one := range s.streams.open {
		all = append(all, one)
	}
	return all
}
