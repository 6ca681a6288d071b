package cmd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
)

func (a *app) dump() *cobra.Command {
	c := &cobra.Command{
		Use:   "dump",
		Short: "Show a file of MySQL's as Remora reads it, field by field",
		Long:  "Dump reads files and changes nothing. A file of a running server may be seen half written.",
	}
	c.AddCommand(a.dumpRedo(), a.dumpPage(), a.dumpTablespace(), a.dumpBinlog())
	return c
}

// dumped runs show on the file that a dump command names.
func (a *app) dumped(show func(w io.Writer, f *os.File) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return usage(err)
		}
		defer f.Close()
		w := bufio.NewWriter(a.env.Stdout)
		err = show(w, f)
		return errors.Join(err, w.Flush())
	}
}

func (a *app) dumpRedo() *cobra.Command {
	var d redoDump
	c := &cobra.Command{
		Use:   "redo FILE",
		Short: "Records of a redo file, xtrabackup_logfile, or of blocks without a header",
		Args:  cobra.ExactArgs(1),
		RunE:  a.dumped(func(w io.Writer, f *os.File) error { return d.show(w, f) }),
	}
	c.Flags().Uint64Var((*uint64)(&d.from), "from", 0, "begin with the first mini-transaction at or after this `LSN`; else with the first of the file")
	c.Flags().IntVar(&d.page, "page-size", 16<<10, "innodb_page_size of the server, `bytes`")
	return c
}

// redoDump shows one file of a redo log.
type redoDump struct {
	from redo.LSN
	page int
	w    io.Writer
}

func (d *redoDump) show(w io.Writer, f *os.File) error {
	d.w = w
	in := bufio.NewReaderSize(f, 1<<20)
	first, err := in.Peek(redo.HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	start, ok := redo.LSN(0), false
	if h, err := redo.ParseFileHeader(first); err == nil {
		d.header(h)
		start, ok = h.Start, true
		_, _ = in.Discard(redo.HeaderSize)
	} else if len(first) >= redo.BlockSize {
		start, ok = redo.BlockLSN(first)
	}
	if !ok {
		return code.New(code.Integrity, "read %s: it is neither a redo file of format %d nor redo blocks", f.Name(), redo.FormatCurrent)
	}
	if d.from > start {
		if _, err := in.Discard(int(min(uint64(d.from.BlockStart()-start), math.MaxInt))); err != nil {
			return code.New(code.Usage, "LSN %d is not in %s, which begins at %d", d.from, f.Name(), start)
		}
		start = d.from.BlockStart()
	}
	return d.blocks(in, start)
}

func (d *redoDump) header(h redo.FileHeader) {
	fmt.Fprintf(d.w, "header format=%d uuid=%d start_lsn=%d creator=%q flags=%v\n", h.Format, h.UUID, h.Start, h.Creator, h.Flags)
	for i, at := range h.Checkpoints {
		fmt.Fprintf(d.w, "checkpoint %d lsn=%d\n", i+1, at)
	}
	if e := h.Encryption; e.Present {
		fmt.Fprintf(d.w, "encryption magic=%s key=%s checksum=%08x\n", e.Magic, e.KeyName(), e.Checksum)
	}
}

// blocks shows the records of all blocks up to the first that is not sound.
func (d *redoDump) blocks(in io.Reader, at redo.LSN) error {
	p := redo.NewParser(at+redo.BlockHeader, d.page, func(redo.Event) {})
	p.Records(d.record)
	var b [redo.BlockSize]byte
	for ; ; at += redo.BlockSize {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			fmt.Fprintf(d.w, "end lsn=%d parsed=%d state=end of file\n", at, p.ParsedLSN())
			return nil
		}
		block, state := redo.ParseBlock(b[:], at, redo.AllowNone)
		if state != redo.Good {
			fmt.Fprintf(d.w, "end lsn=%d parsed=%d state=%v\n", at, p.ParsedLSN(), state)
			return nil
		}
		if err := p.Feed(block); err != nil {
			fmt.Fprintf(d.w, "end lsn=%d parsed=%d state=%v\n", at, p.ParsedLSN(), err)
			return code.New(code.Integrity, "%w", err)
		}
		if !block.Full() {
			fmt.Fprintf(d.w, "end lsn=%d parsed=%d state=last block\n", block.End(), p.ParsedLSN())
			return nil
		}
	}
}

func (d *redoDump) record(r redo.Record) {
	if r.Group < d.from {
		return
	}
	fmt.Fprintf(d.w, "record lsn=%d mtr=%d type=%v length=%d", r.LSN, r.Group, r.Type, len(r.Bytes))
	if r.Single {
		fmt.Fprint(d.w, " single")
	}
	for _, f := range r.Fields() {
		if f.Bytes != nil {
			fmt.Fprintf(d.w, " %s=%s", f.Name, excerpt(f.Bytes))
		} else {
			fmt.Fprintf(d.w, " %s=%d", f.Name, f.Value)
		}
	}
	fmt.Fprintln(d.w)
}

// excerpt is text in quotes, or the first bytes of what is none.
func excerpt(b []byte) string {
	const most = 32
	text := bytes.TrimRight(b, "\x00")
	if len(text) > 0 && len(text) < 512 && !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Sprintf("%q", text)
	}
	if len(b) > most {
		return fmt.Sprintf("%x...(%d)", b[:most], len(b))
	}
	return fmt.Sprintf("%x", b)
}

func (a *app) dumpBinlog() *cobra.Command {
	return &cobra.Command{
		Use:   "binlog FILE",
		Short: "Events of a binary log with positions and GTIDs",
		Args:  cobra.ExactArgs(1),
		RunE:  a.dumped(showBinlog),
	}
}

func showBinlog(w io.Writer, f *os.File) error {
	r, err := binlog.NewReader(bufio.NewReader(f))
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	format := r.Format()
	fmt.Fprintf(w, "format version=%d server=%s checksums=%v in_use=%v\n", format.Version, format.Server, format.Checksums, format.InUse)
	for {
		e, err := r.Next()
		if err == io.EOF {
			fmt.Fprintf(w, "end %d\n", r.Position())
			return nil
		}
		if err != nil {
			fmt.Fprintf(w, "end %d %v\n", r.Position(), err)
			return code.Default(code.Integrity, err)
		}
		fmt.Fprintf(w, "event %d-%d type=%v server_id=%d time=%s%s\n", e.Start, e.End, e.Type, e.ServerID,
			time.Unix(int64(e.Time), 0).UTC().Format("2006-01-02T15:04:05Z"), detail(e))
	}
}

// detail is what an event tells besides its header.
func detail(e binlog.Event) string {
	switch e.Type {
	case binlog.GTIDEvent, binlog.AnonymousGTID, binlog.TaggedGTID:
		t, err := e.Transaction()
		if err != nil {
			return " " + err.Error()
		}
		if t.Anonymous {
			return fmt.Sprintf(" anonymous length=%d", t.Length)
		}
		return fmt.Sprintf(" gtid=%v length=%d", t.GTID, t.Length)
	case binlog.PreviousGTIDs:
		set, err := binlog.DecodeGTIDSet(e.Body)
		if err != nil {
			return " " + err.Error()
		}
		return " gtids=" + strings.ReplaceAll(set.String(), "\n", "")
	case binlog.Rotate:
		next, err := e.Next()
		if err != nil {
			return " " + err.Error()
		}
		return fmt.Sprintf(" next=%q", next)
	}
	return ""
}
