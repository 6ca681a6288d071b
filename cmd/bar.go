package cmd

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/remora-backup/remora/core/run"
)

// bar is the progress bar at the bottom of a terminal. What is written to it appears
// above. It reads the run's meter and costs the run nothing.
type bar struct {
	out   io.Writer
	pool  *mpb.Progress
	one   *mpb.Bar
	meter *run.Meter
	last  atomic.Pointer[run.Event] // the latest progress
	done  chan struct{}

	mu      sync.Mutex
	stopped bool
}

const refresh = 150 * time.Millisecond

func newBar(out io.Writer, meter *run.Meter) *bar {
	b := &bar{out: out, meter: meter, done: make(chan struct{})}
	target := out
	if s, ok := out.(*steadfast); ok {
		target = s.w // the library asks the terminal itself for its width
	}
	b.pool = mpb.New(mpb.WithOutput(target), mpb.WithWidth(32), mpb.WithRefreshRate(refresh), mpb.WithAutoRefresh())
	b.one = b.pool.New(100, mpb.BarStyle().Rbound("]").Lbound("["), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.name() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.numbers() })))
	go b.follow()
	return b
}

// follow moves the bar to where the meter is.
func (b *bar) follow() {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-b.done:
			return
		case <-tick.C:
			percent := 0
			if r := b.meter.Read(); r.Percent != nil {
				percent = min(*r.Percent, 99) // at 100 the library would take the bar away
			}
			b.one.SetCurrent(int64(percent))
		}
	}
}

func (b *bar) name() string {
	r := b.meter.Read()
	if r.Phase == "" {
		return "starting "
	}
	return fmt.Sprintf("%s %s ", r.Phase, took(time.Since(r.Since).Truncate(time.Second)))
}

func (b *bar) numbers() string {
	r := b.meter.Read()
	text := ""
	if r.Percent != nil {
		text = fmt.Sprintf(" %d%%", *r.Percent)
	}
	if r.Total > 0 {
		text += fmt.Sprintf("  %s of %s", size(r.Done), size(r.Total))
	}
	if e := b.last.Load(); e != nil && e.Phase == r.Phase && e.TargetLSN > 0 {
		text += fmt.Sprintf("  LSN %d of %d", e.LSN, e.TargetLSN)
	}
	if r.ETA > 0 {
		text += fmt.Sprintf("  %s left", r.ETA.Round(time.Second))
	}
	return text
}

func (b *bar) progress(e run.Event) { b.last.Store(&e) }

// Write prints whole lines above the bar, or plainly once it is gone.
func (b *bar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		if _, err := b.pool.Write(p); err == nil {
			return len(p), nil
		}
	}
	return b.out.Write(p)
}

// stop takes the bar away for good.
func (b *bar) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	b.stopped = true
	close(b.done)
	b.one.Abort(true)
	b.pool.Wait()
}
