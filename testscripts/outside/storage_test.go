package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/sdk"
)

// storageWord makes the test's own executable a storage plugin.
const storageWord = "outside-storage"

// faulty is a storage on files with a fault.
type faulty struct {
	*fs.Storage `json:"-"`

	Path     string `json:"path"`
	FailPut  int    `json:"fail_put"`  // the nth put answers with an error, having taken what it got
	FailGet  int    `json:"fail_get"`  // the nth get does
	ShortPut int    `json:"short_put"` // the nth put keeps half of the object and says that all is well
	PutMS    int    `json:"put_ms"`    // each put takes longer

	mu         sync.Mutex
	puts, gets int
}

func serveStorage() {
	sdk.ServeStorage(func(config json.RawMessage) (plug.Storage, error) {
		f := &faulty{}
		if err := sdk.Decode(config, f); err != nil {
			return nil, err
		}
		var err error
		f.Storage, err = fs.Open(fs.Config{Path: f.Path})
		return f, err
	})
}

func (f *faulty) turn(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
	return *n
}

func (f *faulty) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	n := f.turn(&f.puts)
	time.Sleep(time.Duration(f.PutMS) * time.Millisecond)
	if n != f.ShortPut {
		o, err := f.Storage.Put(ctx, name, r)
		if n == f.FailPut {
			err = errors.Join(err, errors.New("the storage is out of order"))
		}
		return o, err
	}
	all, err := io.ReadAll(r)
	if err != nil {
		return plug.Object{}, err
	}
	o, err := f.Storage.Put(ctx, name, io.LimitReader(bytes.NewReader(all), int64(len(all)/2)))
	o.Size = int64(len(all))
	return o, err
}

func (f *faulty) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if f.turn(&f.gets) == f.FailGet {
		return nil, errors.New("the storage is out of order")
	}
	return f.Storage.Get(ctx, name, offset, length)
}
