package redo

// Event is a record that a backup must know of: it changes which files there are, or makes a copy of one stale.
type Event struct {
	Type  Type // FileCreate, FileRename, FileDelete, FileExtend, IndexLoad, or WriteString on page 0
	Space uint32
	// Start and End are the LSNs of the whole mini-transaction; End is where the next one starts.
	Start, End LSN

	Path   string // FileCreate, FileDelete, FileRename (the old name): as the server opened it, relative to the data directory or absolute
	To     string // FileRename
	Flags  uint32 // FileCreate: the tablespace flags
	Offset uint64 // FileExtend: bytes, the old size of the file. WriteString: bytes, the place in page 0
	Size   uint64 // FileExtend: bytes added
	Index  uint64 // IndexLoad: the index whose pages were written without redo
	Page   uint32 // IndexLoad: its root page
	Bytes  []byte // WriteString: the encryption information of the tablespace, or a part of it
}

// newEvent reads the record rec, which has been found sound.
func newEvent(t Type, rec []byte) Event {
	e := Event{Type: t}
	c := cursor{b: rec, i: 1, page: 1 << 16, note: func(f Field) {
		switch f.Name {
		case "space":
			e.Space = uint32(f.Value)
		case "page":
			e.Page = uint32(f.Value)
		case "path":
			e.Path = string(cutNUL(f.Bytes))
		case "to":
			e.To = string(cutNUL(f.Bytes))
		case "flags":
			e.Flags = uint32(f.Value)
		case "offset":
			e.Offset = f.Value
		case "size":
			e.Size = f.Value
		case "index":
			e.Index = f.Value
		case "bytes":
			e.Bytes = append([]byte(nil), f.Bytes...)
		}
	}}
	c.record(t)
	return e
}

// wanted reports whether a record of type t on this page is an Event.
//
// Every WriteString on page 0 is one: the server writes nothing else there in this way than encryption information
// (fsp0fsp.cc, fsp_header_write_encryption), whose place depends on the page size of the tablespace, which the redo does not tell.
func wanted(t Type, page uint32) bool {
	switch t {
	case FileCreate, FileRename, FileDelete, FileExtend, IndexLoad:
		return true
	case WriteString:
		return page == 0
	}
	return false
}
