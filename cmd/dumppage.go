package cmd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

func (a *app) dumpPage() *cobra.Command {
	var number uint32
	var size int
	c := &cobra.Command{
		Use:   "page FILE",
		Short: "One page of a tablespace: header, checksum verdict, bytes",
		Args:  cobra.ExactArgs(1),
		RunE:  a.dumped(func(w io.Writer, f *os.File) error { return showPage(w, f, number, size) }),
	}
	c.Flags().Uint32Var(&number, "page", 0, "`number` of the page in the file")
	sizeFlag(c, &size)
	return c
}

func sizeFlag(c *cobra.Command, size *int) {
	c.Flags().IntVar(size, "page-size", 0, "`bytes` of a page, for a file whose first page does not say")
}

func (a *app) dumpTablespace() *cobra.Command {
	var size int
	c := &cobra.Command{
		Use:   "ibd FILE",
		Short: "Header of a tablespace, and of each page the type, LSN and checksum verdict",
		Args:  cobra.ExactArgs(1),
		RunE:  a.dumped(func(w io.Writer, f *os.File) error { return showTablespace(w, f, size) }),
	}
	sizeFlag(c, &size)
	return c
}

// pages returns how to verify the pages of a file, and what its first page says if it
// says something.
func pages(f *os.File, bytes int) (*page.Verifier, *tablespace.Header, error) {
	var first [tablespace.HeaderSize]byte
	if _, err := f.ReadAt(first[:], 0); err != nil {
		return nil, nil, code.New(code.Integrity, "read the first page of %s: %w", f.Name(), err)
	}
	h, err := tablespace.ParseHeader(first[:])
	if err != nil && bytes == 0 {
		return nil, nil, code.Hint(code.Integrity, "--page-size BYTES", "%w", err)
	}
	size := page.Plain(bytes)
	if bytes == 0 {
		size, _ = h.Flags.PageSize() // ParseHeader has looked at it
	}
	v, failed := page.NewVerifier(size)
	if err != nil {
		return v, nil, usage(failed)
	}
	return v, &h, usage(failed)
}

func showPage(w io.Writer, f *os.File, number uint32, bytes int) error {
	v, _, err := pages(f, bytes)
	if err != nil {
		return err
	}
	b := make([]byte, v.Size().Physical)
	if _, err := f.ReadAt(b, int64(number)*int64(len(b))); err != nil {
		return code.New(code.Usage, "read page %d of %s: %w", number, f.Name(), err)
	}
	h, err := page.ParseHeader(b)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "page %d of %v\nverdict    %v\n", number, v.Size(), v.Verify(b, number))
	fmt.Fprintf(w, "checksum   %08x\nnumber     %d\nprevious   %s\nnext       %s\nlsn        %d\ntype       %v\n", h.Checksum, h.Number, neighbour(h.Prev), neighbour(h.Next), h.LSN, h.Type)
	if h.Original != h.Type {
		fmt.Fprintf(w, "original   %v, %d bytes packed to %d by %v\n", h.Original, h.OriginalSize, h.PackedSize, h.Algorithm)
	} else {
		fmt.Fprintf(w, "flush lsn  %d\n", h.FlushLSN)
	}
	fmt.Fprintf(w, "space      %d\n", h.Space)
	showBytes(w, b)
	return nil
}

func neighbour(n uint32) string {
	if n == page.None {
		return "none"
	}
	return fmt.Sprint(n)
}

// showBytes prints 32 bytes a line; lines of zeros are left out.
func showBytes(w io.Writer, b []byte) {
	for at := 0; at < len(b); at += 32 {
		line := b[at:min(at+32, len(b))]
		if len(bytes.Trim(line, "\x00")) > 0 {
			fmt.Fprintf(w, "%05x %x\n", at, line)
		}
	}
}

func showTablespace(w io.Writer, f *os.File, bytes int) error {
	v, h, err := pages(f, bytes)
	if err != nil {
		return err
	}
	size := v.Size()
	if h != nil {
		fmt.Fprintf(w, "tablespace space=%d pages=%d free_limit=%d flags=%#x (%v) server_version=%d space_version=%d\n",
			h.Space, h.Size, h.FreeLimit, uint32(h.Flags), h.Flags, h.ServerVersion, h.SpaceVersion)
		first := make([]byte, size.Physical)
		if _, err := f.ReadAt(first, 0); err == nil {
			if e, ok := tablespace.ParseEncryption(first, size); ok {
				fmt.Fprintf(w, "encryption version=%d key=INNODBKey-%s-%d\n", e.Version, e.ServerUUID, e.MasterKey)
			}
		}
	}
	verdicts, types := map[string]int{}, map[string]int{}
	in, b, bad, n := bufio.NewReaderSize(io.NewSectionReader(f, 0, math.MaxInt64), 1<<20), make([]byte, size.Physical), 0, uint32(0)
	for ; ; n++ {
		if _, err := io.ReadFull(in, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break // a tail shorter than a page is ignored, as a server does
		} else if err != nil {
			return err
		}
		o := v.Verify(b, n)
		if h != nil && h.Space == tablespace.System && size.InDoublewrite(n) && o.Corrupt() {
			fmt.Fprintf(w, "page %d verdict=not looked at, a doublewrite page\n", n)
			continue
		}
		p, err := page.ParseHeader(b)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "page %d type=%v space=%d lsn=%d verdict=%v\n", n, p.Type, p.Space, p.LSN, o)
		verdicts[o.String()]++
		types[p.Type.String()]++
		if o.Corrupt() {
			bad++
		}
	}
	fmt.Fprintf(w, "%d pages: %s\ntypes: %s\n", n, counts(verdicts), counts(types))
	if bad > 0 {
		return code.New(code.Integrity, "%s has %d corrupt pages", f.Name(), bad)
	}
	return nil
}

// counts lists how often there was what.
func counts(n map[string]int) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%d %s", n[name], name))
	}
	return strings.Join(all, ", ")
}
