// Package kit proves that a plugin keeps every promise, as the process that it is.
//
// What a plugin of its kind must do is asked by package plugtest, through the wire. What only
// a process can break is asked here: what it keeps when it is killed or ended, how it ends,
// what it leaves behind, how much it says. The plugin is started again for each of these.
package kit

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/host"
)

// Kit is a plugin to check.
type Kit struct {
	Spec    host.Spec
	Options host.Options
	Pause   time.Duration // how long an upload stands still in the middle; default 15 s
}

// Check yields the result of each check, or of those named, when it is known. The error is
// not nil if the plugin does not start, or not again; then there is no more. A storage is
// used below names of its own, which are deleted again; a lock plugin locks its server
// briefly; a notify plugin really sends.
func (k Kit) Check(ctx context.Context, only ...string) iter.Seq2[plugtest.Result, error] {
	if k.Pause == 0 {
		k.Pause = 15 * time.Second
	}
	return func(yield func(plugtest.Result, error) bool) {
		p, err := host.Start(ctx, k.Spec, k.Options)
		if err != nil {
			yield(plugtest.Result{}, err)
			return
		}
		defer func() { _ = p.Close(context.WithoutCancel(ctx)) }() // how it ends is a check of its own
		s := &subject{kit: k, p: p}
		s.look()
		for r := range s.promises(ctx, only) {
			if !yield(r, nil) || r.Endless {
				return
			}
		}
		for _, c := range k.checks() {
			if len(only) > 0 && !slices.Contains(only, c.name) || ctx.Err() != nil {
				continue
			}
			r := plugtest.Run(ctx, c.name, func(t plugtest.T) { c.run(t, s) })
			if !yield(r, nil) || r.Endless {
				return
			}
		}
	}
}

// check is one promise of a process.
type check struct {
	name string
	run  func(plugtest.T, *subject)
}

func (k Kit) checks() []check {
	all := []check{
		{"logs_no_more_than_is_taken", quiet},
		{"leaves_no_socket", noSocket},
		{"leaves_no_open_file", noOpenFile},
		{"signals_do_not_end_it", signals},
		{"ends_with_its_host", endsWithHost},
		{"ends_when_drained", endsWhenDrained},
	}
	if k.Spec.Kind == host.Storage {
		all = append(all,
			check{"pause_in_put", pauseInPut},
			check{"aborted_put_leaves_no_file", abortedPut},
			check{"kill_in_put_leaves_nothing", killInPut},
			check{"kill_keeps_objects", killKeeps},
			check{"restart_keeps_objects", restartKeeps},
		)
	}
	return all
}

// subject is the plugin that the checks work on.
type subject struct {
	kit     Kit
	p       *host.Plugin
	sockets int // before anything was asked
	files   int
}

func (s *subject) look() {
	names, _ := s.p.Sockets() // if they cannot be counted now, they cannot later, which is said
	s.sockets, s.files = len(names), len(openFiles(s.p.Pid()))
}

func (s *subject) promises(ctx context.Context, only []string) iter.Seq[plugtest.Result] {
	switch s.kit.Spec.Kind {
	case host.Storage:
		return plugtest.CheckStorage(ctx, s.p.Storage(), only...)
	case host.Lock:
		return plugtest.CheckLock(ctx, s.p.Lock(), only...)
	}
	return plugtest.CheckNotify(ctx, s.p.Notify(), only...)
}

// start starts the plugin once more. The caller closes it.
func (s *subject) start(t plugtest.T) *host.Plugin {
	t.Helper()
	p, err := host.Start(t.Context(), s.kit.Spec, s.kit.Options)
	if err != nil {
		t.Fatalf("start it once more: %v", err)
	}
	return p
}

func closeQuietly(t plugtest.T, p *host.Plugin) { _ = p.Close(context.WithoutCancel(t.Context())) }
