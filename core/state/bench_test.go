package state

import (
	"testing"
	"time"

	"github.com/remora-backup/remora/core/run"
)

func BenchmarkEvent(b *testing.B) {
	for _, kind := range []run.Kind{run.KindProgress, run.KindPhase} {
		b.Run(string(kind), func(b *testing.B) {
			s, err := Open(b.Context(), b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := s.Begin(b.Context(), Operation{ID: "a", Operation: "backup"}); err != nil {
				b.Fatal(err)
			}
			seq := int64(0)
			for b.Loop() {
				seq++
				s.Event(b.Context(), run.Event{Seq: seq, Time: time.Now(), Kind: kind, ID: "a", Phase: "copying"})
			}
			if err := s.Err(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
