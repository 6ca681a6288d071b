package cmd

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/run"
)

// bar is the progress bar at the bottom of a terminal. What is written to it appears
// above. It reads the run's meter and costs the run nothing.
type bar struct {
	out   io.Writer
	pool  *mpb.Progress
	one   *mpb.Bar
	meter gauge
	last  atomic.Pointer[run.Event] // the latest progress
	now   run.Reading               // what the frame that is being drawn shows

	mu      sync.Mutex
	stopped bool
}

// gauge says how far a run is; a run.Meter does.
type gauge interface{ Read() run.Reading }

const refresh = 150 * time.Millisecond

func newBar(out io.Writer, meter gauge) *bar {
	b := &bar{out: out, meter: meter}
	target := out
	if s, ok := out.(*steadfast); ok {
		target = s.w // the library asks the terminal itself for its width
	}
	b.pool = mpb.New(mpb.WithOutput(target), mpb.WithWidth(32), mpb.WithRefreshRate(refresh), mpb.WithAutoRefresh())
	b.one = b.pool.New(100, mpb.BarStyle().Rbound("]").Lbound("["), mpb.BarRemoveOnComplete(), mpb.BarFillerMiddleware(b.fill),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.name() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.numbers() })))
	return b
}

// name is drawn first in every frame, and takes the reading that all of it shows. Of an
// operation that has ended there is none any more: the lines above the bar say how.
func (b *bar) name() string {
	b.now = b.meter.Read()
	switch {
	case b.now.Phase == "":
		return "starting "
	case operate.Over(b.now.Phase):
		return ""
	}
	return fmt.Sprintf("%s %s ", b.now.Phase, took(time.Since(b.now.Since).Truncate(time.Second)))
}

// fill draws the bar as full as the reading says; its own count, which does not move, would
// take the bar away at its end.
func (b *bar) fill(style mpb.BarFiller) mpb.BarFiller {
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if operate.Over(b.now.Phase) {
			return nil
		}
		s.Current, s.Completed = 0, false
		if b.now.Percent != nil {
			s.Current = int64(*b.now.Percent)
		}
		return style.Fill(w, s)
	})
}

func (b *bar) numbers() string {
	r := b.now
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

// home brings the cursor back to its line's beginning, from where the bar takes itself away: a
// terminal has echoed the key.
func (b *bar) home() { _, _ = io.WriteString(b.out, "\r") }

// stop takes the bar away for good.
func (b *bar) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	b.stopped = true
	b.one.Abort(true)
	b.pool.Wait()
}
