package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// source is what goes into a backup: the bytes of each file, by path.
type source map[string][]byte

// makeSource returns files of which parts are zeros, repetitive, and random.
func makeSource(seed uint64, files, size int) source {
	r := mrand.New(mrand.NewPCG(seed, 1))
	s := source{"empty.ibd": {}, "mysql.ibd": bytes.Repeat([]byte("page"), size/4+1)}
	for i := range files {
		b := make([]byte, r.IntN(size)+1)
		for at := 0; at < len(b); {
			n := min(r.IntN(size/4+1)+1, len(b)-at)
			switch r.IntN(3) {
			case 0:
				for j := range n {
					b[at+j] = byte(r.Uint32())
				}
			case 1:
				for j := range n {
					b[at+j] = byte(j / 7)
				}
			}
			at += n
		}
		s[fmt.Sprintf("db%d/t%d.ibd", i%3, i)] = b
	}
	return s
}

const workers = 3

// write stores src with several packers at once, in shuffled extents, a copy that is
// replaced with it, and a directory.
func write(ctx context.Context, b *Backup, src source, extent int) error {
	type job struct {
		e    Extent
		data []byte
	}
	var jobs []job
	for _, path := range slices.Sorted(maps.Keys(src)) {
		data := src[path]
		f := File{ID: b.NewFile(), Kind: KindTablespace, Path: path, Size: int64(len(data)), SpaceID: 7, PageSize: 16384}
		if err := b.Keep(f); err != nil {
			return err
		}
		for at := 0; at < len(data); at += extent {
			jobs = append(jobs, job{Extent{File: f.ID, Offset: int64(at), MaxLSN: uint64(at)}, data[at:min(at+extent, len(data))]})
		}
	}
	jobs = append(jobs, job{Extent{File: b.NewFile()}, bytes.Repeat([]byte("old copy"), 20)})
	if err := b.Keep(File{ID: b.NewFile(), Kind: KindDir, Path: "nothing", Attrs: map[string]string{"k": strings.Repeat("\x01", maxAttrs-1)}}); err != nil {
		return err
	}
	mrand.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	next := make(chan job, len(jobs))
	for _, j := range jobs {
		next <- j
	}
	close(next)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range errs {
		p, err := b.Packer()
		if err != nil {
			return err
		}
		wg.Go(func() {
			for j := range next {
				if i%2 == 0 || mrand.IntN(3) == 0 { // as one likes
					room := p.Room(len(j.data))
					copy(room, j.data)
					j.data = room
				}
				if errs[i] = p.Extent(ctx, j.e, j.data); errs[i] != nil {
					return
				}
			}
			if i == 0 {
				errs[i] = p.Flush(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// backup stores src as a new backup and returns its manifest.
func backup(ctx context.Context, m *plugtest.Memory, src source, opt Options, extent int) (Manifest, *Backup, error) {
	r, err := Open(ctx, m)
	if err != nil {
		return Manifest{}, nil, err
	}
	id, err := r.NextID(ctx, time.Now(), rand.Reader)
	if err != nil {
		return Manifest{}, nil, err
	}
	b, err := r.NewBackup(ctx, id, opt)
	if err != nil {
		return Manifest{}, nil, err
	}
	if err := write(ctx, b, src, extent); err != nil {
		return Manifest{}, b, err
	}
	man, err := b.Seal(ctx, Manifest{
		Remora: "1.0", Started: time.Now(), VPTime: time.Now(), Server: Server{UUID: "u", Version: "9.7.4", PageSize: 16384},
		LSN: LSN{1, 2, 3}, Binlog: Binlog{"binlog.000001", 157}, GTIDExecuted: "u:1-5", Lock: Lock{Held: 12.3},
		Channels: []Channel{{Name: "", RelayLogPos: 4}}, Phases: []Phase{{Name: "preflight", Started: time.Now(), Seconds: 0.25}},
		Databases: []string{"a<b", "ü"}, Notes: []string{"n"},
	})
	return man, b, err
}

func mustBackup(t *testing.T, m *plugtest.Memory, src source, opt Options, extent int) Manifest {
	t.Helper()
	man, _, err := backup(t.Context(), m, src, opt, extent)
	if err != nil {
		t.Fatal(err)
	}
	return man
}

// restore reads a backup the way a restore does.
func restore(ctx context.Context, m *plugtest.Memory, id string) (source, error) {
	r, err := Open(ctx, m)
	if err != nil {
		return nil, err
	}
	b, err := r.OpenBackup(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := b.Check(ctx); err != nil {
		return nil, err
	}
	got := source{}
	for _, f := range b.Files() {
		if f.Kind != KindDir {
			got[f.Path] = make([]byte, f.Size)
		}
	}
	return got, b.Fetch(ctx, FetchOptions{Parallel: 3}, func(_ context.Context, f File, e Extent, data []byte) error {
		if e.Zero != (data == nil) || !e.Zero && len(data) != e.Length {
			return fmt.Errorf("extent %+v came with %d bytes", e, len(data))
		}
		copy(got[f.Path][e.Offset:], data)
		return nil
	})
}

func verify(ctx context.Context, m *plugtest.Memory, id string) error {
	r, err := Open(ctx, m)
	if err != nil {
		return err
	}
	b, err := r.OpenBackup(ctx, id)
	if err != nil {
		return err
	}
	return b.Verify(ctx, 2)
}

func same(t *testing.T, got, want source) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d files, want %d", len(got), len(want))
	}
	for path := range want {
		if !bytes.Equal(got[path], want[path]) {
			t.Errorf("%s: got other bytes than were stored", path)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opt    Options
		files  int
		size   int
		extent int
	}{
		{"one pack", Options{Compression: Zstd}, 3, 10_000, 4096},
		{"many packs", Options{Compression: Zstd, PackSize: 30_000, segment: 2000}, 40, 100_000, 16384},
		{"raw", Options{Compression: None, PackSize: 30_000}, 40, 100_000, 16384},
		{"large extents", Options{PackSize: 3 << 20}, 4, 9 << 20, MaxExtent},
		{"tiny extents", Options{PackSize: 5000}, 4, 5000, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, src := new(plugtest.Memory), makeSource(1, tt.files, tt.size)
			man := mustBackup(t, m, src, tt.opt, tt.extent)
			got, err := restore(t.Context(), m, Latest)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, src)
			if err := verify(t.Context(), m, man.ID); err != nil {
				t.Errorf("verify: %v", err)
			}
			checkManifest(t, m, man, src)
		})
	}
}

// checkManifest compares a manifest with what the storage has.
func checkManifest(t *testing.T, m *plugtest.Memory, man Manifest, src source) {
	t.Helper()
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Manifest(t.Context(), man.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, man) {
		t.Errorf("manifest: got %+v, want %+v", again, man)
	}
	var plain, packs, size int64
	for _, b := range src {
		plain += int64(len(b))
	}
	for name, b := range m.All() {
		if bytes.Contains([]byte(name), []byte("/pack-")) {
			packs++
			size += int64(len(b))
		}
	}
	if man.Totals.Plain != plain || man.Totals.Files != int64(len(src))+1 || man.Totals.Superseded == 0 {
		t.Errorf("totals: got %+v, want %d plain bytes in %d files", man.Totals, plain, len(src)+1)
	}
	if man.Packs.Count != packs || man.Packs.Size != size || man.Totals.Stored+man.Totals.Superseded != size {
		t.Errorf("packs: got %+v and %+v, want %d of %d bytes", man.Packs, man.Totals, packs, size)
	}
}

func TestFetchChooses(t *testing.T) {
	m, src := new(plugtest.Memory), makeSource(3, 10, 3000)
	mustBackup(t, m, src, Options{PackSize: 1000}, 500)
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.OpenBackup(t.Context(), Latest)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen, done := map[string]int{}, map[int]bool{}
	fetch := func(opt FetchOptions) {
		t.Helper()
		opt.Done = func(_ context.Context, g int) error {
			mu.Lock()
			defer mu.Unlock()
			done[g] = true
			return nil
		}
		err := b.Fetch(t.Context(), opt, func(_ context.Context, f File, e Extent, _ []byte) error {
			mu.Lock()
			defer mu.Unlock()
			seen[f.Path] += e.Length
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fetch(FetchOptions{Want: func(f File) bool { return f.Path == "mysql.ibd" }})
	if len(seen) != 1 || seen["mysql.ibd"] != len(src["mysql.ibd"]) {
		t.Errorf("one file wanted: got %v", seen)
	}
	clear(seen)
	fetch(FetchOptions{Skip: func(g int) bool { return g%2 == 0 }})
	fetch(FetchOptions{Skip: func(g int) bool { return g%2 == 1 }})
	for path, data := range src {
		if seen[path] != len(data) {
			t.Errorf("%s: got %d bytes in two parts, want %d", path, seen[path], len(data))
		}
	}
	for g := range len(done) {
		if !done[g] {
			t.Errorf("group %d was not told as done", g)
		}
	}
}

func TestList(t *testing.T) {
	m := new(plugtest.Memory)
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := r.List(t.Context()); len(list) != 0 || err != nil {
		t.Fatalf("empty: got %v, %v", list, err)
	}
	if len(maps.Collect(m.All())) != 0 {
		t.Errorf("a reader wrote to the storage")
	}
	first := mustBackup(t, m, makeSource(1, 1, 100), Options{}, 100)
	second := mustBackup(t, m, makeSource(2, 1, 100), Options{}, 100)
	m.Set("backups/20990101T000000Z-0000/pack-000001", []byte("left over"))
	m.Set("backups/stranger/manifest.json", []byte("{}"))
	m.Bytes(manifestName(first.ID))[5] ^= 1
	if r, err = Open(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	list, err := r.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v; want 2 backups", list, err)
	}
	if list[0].ID != first.ID || code.Of(list[0].Err) != code.Integrity {
		t.Errorf("damaged: got %+v", list[0])
	}
	if list[1].ID != second.ID || list[1].Err != nil || list[1].Manifest.Digest != second.Digest {
		t.Errorf("good: got %+v", list[1])
	}
	if got, err := r.Manifest(t.Context(), Latest); err != nil || got.ID != second.ID {
		t.Errorf("latest: got %s, %v; want %s", got.ID, err, second.ID)
	}
}

func TestNewBackupRefuses(t *testing.T) {
	m := new(plugtest.Memory)
	man := mustBackup(t, m, makeSource(1, 1, 100), Options{}, 100)
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "x", "../../etc", "20200101T000000Z-ffff", man.ID} {
		if _, err := r.NewBackup(t.Context(), id, Options{}); err == nil {
			t.Errorf("id %q: got no error", id)
		}
	}
	if _, err := r.NextID(t.Context(), time.Now().Add(-time.Hour), rand.Reader); err == nil || !bytes.Contains([]byte(err.Error()), []byte(man.ID)) {
		t.Errorf("clock went back: got %v, want an error that names %s", err, man.ID)
	}
	next, err := r.NextID(t.Context(), man.Started, bytes.NewReader([]byte{0, 0}))
	if err != nil || next <= man.ID {
		t.Errorf("same second: got %s, %v; want more than %s", next, err, man.ID)
	}
	for _, id := range []string{"nonsense", "20200101T000000Z-ffff"} {
		if _, err := r.Manifest(t.Context(), id); code.Of(err) != code.Usage {
			t.Errorf("manifest of %q: got %v, want code %d", id, err, code.Usage)
		}
	}
}

// TestTwoHostsE3: two hosts that find an empty storage both make it a repository, and the one
// that chose its id first may be the last to store anything.
func TestTwoHostsE3(t *testing.T) {
	m := new(plugtest.Memory)
	var hosts [2]*Repo
	var ids [2]string
	for i := range hosts {
		var err error
		if hosts[i], err = Open(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if ids[i], err = hosts[i].NextID(t.Context(), time.Now().Add(time.Duration(i)*time.Second), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	seal := func(r *Repo, id string, between func()) {
		t.Helper()
		b, err := r.NewBackup(t.Context(), id, Options{})
		if err != nil {
			t.Fatal(err)
		}
		between()
		if err := write(t.Context(), b, makeSource(1, 2, 500), 100); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Seal(t.Context(), Manifest{Started: time.Now(), VPTime: time.Now(), Server: Server{UUID: "u", Version: "9.7.4", PageSize: 16384}}); err != nil {
			t.Fatal(err)
		}
	}
	// The second begins, the first begins and ends in between, as if it had seen no remora.json.
	seal(hosts[1], ids[1], func() {
		m.Remove(configName)
		seal(hosts[0], ids[0], func() {})
	})
	for _, id := range ids {
		if _, err := restore(t.Context(), m, id); err != nil {
			t.Errorf("backup %s: %v", id, err)
		}
	}
	late, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	id, err := late.NextID(t.Context(), time.Now().Add(2*time.Second), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seal(hosts[0], mustNext(t, hosts[0]), func() {})
	if _, err := late.NewBackup(t.Context(), id, Options{}); err != nil {
		t.Errorf("an id that was the last when it was chosen: %v", err)
	}
}

func mustNext(t *testing.T, r *Repo) string {
	t.Helper()
	id, err := r.NextID(t.Context(), time.Now().Add(3*time.Second), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSealRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep func(b *Backup, p *Packer) error
	}{
		{"missing bytes", func(b *Backup, p *Packer) error {
			return b.Keep(File{ID: b.NewFile(), Kind: KindRedo, Path: "a", Size: 1})
		}},
		{"name twice", func(b *Backup, p *Packer) error {
			return errors.Join(b.Keep(File{ID: b.NewFile(), Kind: KindRedo, Path: "a"}), b.Keep(File{ID: b.NewFile(), Kind: KindRedo, Path: "a"}))
		}},
		{"copy twice", func(b *Backup, p *Packer) error {
			id := b.NewFile()
			return errors.Join(b.Keep(File{ID: id, Kind: KindRedo, Path: "a"}), b.Keep(File{ID: id, Kind: KindRedo, Path: "b"}))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := new(plugtest.Memory)
			r, err := Open(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			b, err := r.NewBackup(t.Context(), "20261120T221500Z-7f3a", Options{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.Packer()
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.keep(b, p); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Seal(t.Context(), Manifest{}); err == nil {
				t.Error("got no error")
			}
			abortClean(t, m, b)
		})
	}
}

// abortClean aborts b and sees that nothing is left.
func abortClean(t *testing.T, m *plugtest.Memory, b *Backup) {
	t.Helper()
	left, err := b.Abort(t.Context())
	if err != nil || len(left) != 0 {
		t.Errorf("abort: got %v, %v", left, err)
	}
	for name := range m.All() {
		if name != configName {
			t.Errorf("abort left %s", name)
		}
	}
}
