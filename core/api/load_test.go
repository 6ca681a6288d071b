package api

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// zeros is a body of that many bytes; it counts what was taken of it.
type zeros struct{ left, taken atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(int64(len(p)), z.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	z.left.Add(-n)
	z.taken.Add(n)
	return int(n), nil
}

// E22: a body of 10 GB, told or not, is not read further than what a body may have, give or
// take what is under way.
func TestLargeBodyE22(t *testing.T) {
	h := open(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, role := range []Role{Nobody, Read, Admin} {
		for _, told := range []bool{true, false} {
			body := new(zeros)
			body.left.Store(10 << 30)
			r := h.request(role, "POST", h.https+"/restores", "")
			r.Body, r.ContentLength = io.NopCloser(body), -1
			if told {
				r.ContentLength = body.left.Load()
			}
			r.Header.Set("Content-Type", "application/json")
			res, err := h.net.Do(r)
			if err == nil { // it may not be able to read the answer
				res.Body.Close()
				if want := map[Role]int{Nobody: 401, Read: 403, Admin: 413}[role]; res.StatusCode != want {
					t.Errorf("%v, told: %v: got %d, want %d", role, told, res.StatusCode, want)
				}
			}
			if taken := body.taken.Load(); taken > 64<<20 {
				t.Errorf("%v, told: %v: %d MB were taken", role, told, taken>>20)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc-before.TotalAlloc) >> 20; grown > 64 {
		t.Errorf("%d MB were allocated", grown)
	}
}

// Who sends a byte at a time, or nothing, is hung up on, and more connections than there are
// places for wait without keeping others out for longer than that.
func TestSlowLorisE22(t *testing.T) {
	const places = 8
	h := open(t, func(s *Server) {
		s.limits.header, s.limits.read, s.limits.idle, s.limits.connections = time.Second, time.Second, time.Second, places
	})
	at := strings.TrimPrefix(h.https, "https://")
	var wg sync.WaitGroup
	hung := func(c net.Conn, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() {
			defer c.Close()
			_, _ = io.Copy(io.Discard, c) // until we are hung up on: go test bounds it
		})
	}
	silent := func() (net.Conn, error) { return net.Dial("tcp", at) } // does not even begin with TLS
	slow := func() (net.Conn, error) {
		c, err := tls.Dial("tcp", at, &tls.Config{RootCAs: h.ca.pool})
		if err != nil {
			return nil, err
		}
		_, err = io.WriteString(c, "POST /restores HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nContent-Type: application/json\r\nAuthorization: Bearer "+h.tokens[Admin]+"\r\n\r\n{")
		return c, err
	}
	for range 4 * places {
		hung(silent())
	}
	for range places / 2 {
		hung(slow())
	}
	if status, _ := h.ask(Read, "GET", h.https+"/status", ""); status != 200 {
		t.Errorf("meanwhile: got %d", status)
	}
	wg.Wait()
	large := h.request(Read, "GET", h.https+"/status", "")
	large.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	if res, err := h.net.Do(large); err == nil { // it may be hung up on before it can read the answer
		res.Body.Close()
		if res.StatusCode != 431 {
			t.Errorf("a header of 64 KiB: got %d, want 431", res.StatusCode)
		}
	}
}

// E24 and E22: a thousand connections that do nothing take no more than their places.
func TestManyConnectionsE22(t *testing.T) {
	h := open(t)
	at := strings.TrimPrefix(h.probes, "http://")
	goroutines := runtime.NumGoroutine()
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for range 1000 {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 2*h.limits.connections+50 {
		t.Errorf("%d goroutines more for a thousand connections", more)
	}
	if status, _ := h.ask(Nobody, "GET", "/status", ""); status != 200 { // another door
		t.Errorf("got %d", status)
	}
}

// BenchmarkStatus asks for the status while 100 readers take events and one of them hangs. The
// goal is 50 ms at the 99th percentile.
func BenchmarkStatus(b *testing.B) {
	h := open(b)
	for i := range 100 {
		r := h.request(Read, "GET", h.https+"/events", "")
		res, err := h.net.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		if i > 0 {
			go func() {
				for s := bufio.NewScanner(res.Body); s.Scan(); {
				}
			}()
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(10 * time.Millisecond); ; { // faster than any operation tells
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				h.tell(run.Event{Kind: run.KindProgress, ID: "one", Time: time.Now(), Message: strings.Repeat("x", 1000)})
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		r := h.request(Read, http.MethodGet, h.https+"/status", "")
		res, err := h.net.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}
