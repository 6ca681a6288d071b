package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// webhook is an HTTP endpoint on the loopback that remembers what it was sent.
type webhook struct {
	url    string
	server *http.Server

	mu       sync.Mutex
	received map[string][]string // by path
}

func listen() (*webhook, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &webhook{url: "http://" + l.Addr().String(), received: map[string][]string{}}
	w.server = &http.Server{Handler: w, ReadHeaderTimeout: 5 * time.Second}
	go w.server.Serve(l)
	return w, nil
}

func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var message struct {
		Text string `json:"text"`
	}
	if err == nil {
		err = json.Unmarshal(body, &message)
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.received[r.URL.Path] = append(w.received[r.URL.Path], message.Text)
}

func (w *webhook) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return w.server.Shutdown(ctx)
}

// received shows the messages; that there were none is a failure.
func (q *quickstart) received(context.Context) error {
	q.webhook.mu.Lock()
	defer q.webhook.mu.Unlock()
	for path, from := range map[string]string{"/script": "the Lua script", "/webhook": "the webhook plugin"} {
		got := q.webhook.received[path]
		if len(got) == 0 {
			return fmt.Errorf("%s sent nothing", from)
		}
		fmt.Printf("   from %s (%d messages):\n", from, len(got))
		for i, text := range got {
			if i < 4 || i >= len(got)-4 {
				fmt.Println("     " + text)
			} else if i == 4 {
				fmt.Println("     ...")
			}
		}
	}
	return nil
}
