package testscripts

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// startWebhook starts a receiver that answers only when what it was sent is in the file.
func startWebhook(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME")
	f, err := os.Create(ts.MkAbs(args[0] + ".jsonl"))
	ts.Check(err)
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		var line bytes.Buffer
		if err == nil {
			err = json.Compact(&line, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		line.WriteByte('\n')
		if _, err := f.Write(line.Bytes()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	ts.Defer(func() { s.Close(); f.Close() })
	ts.Setenv(strings.ToUpper(args[0])+"_URL", s.URL)
}
