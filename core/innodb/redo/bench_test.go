package redo_test

import (
	"testing"

	"github.com/remora-backup/remora/core/innodb/redo"
)

// BenchmarkParser measures what a follower does with every byte it reads: the checks of a block, then its records. The speed is in bytes of
// blocks.
func BenchmarkParser(b *testing.B) {
	for _, c := range captures() {
		l := c.read(b)
		var size int64
		l.each(l.checkpoint, c.sums, func(redo.Block) { size += redo.BlockSize })
		b.Run("blocks/"+c.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				l.each(l.checkpoint, c.sums, func(redo.Block) {})
			}
		})
		b.Run("records/"+c.name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				p := redo.NewParser(l.checkpoint, c.page, func(redo.Event) {})
				l.each(l.checkpoint, c.sums, func(x redo.Block) {
					if err := p.Feed(x); err != nil {
						b.Fatal(err)
					}
				})
			}
		})
	}
}
