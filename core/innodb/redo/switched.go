package redo

// Switched finds out from the log itself whether redo logging was switched off and on again within it: pages that
// changed meanwhile left no trace in it, so a backup that spans such a gap is worthless. Neither the file headers
// nor the server's status keep that, and its error log can be told to be silent.
//
// To end the gap the server writes the next transaction id into the system tablespace, wherever that id stands
// (mtr0mtr.cc, mtr_t::Logging::enable). Otherwise it does so only once in 256 ids, when the id passes a multiple
// (trx0sys.ic, trx_sys_allocate_trx_id_or_no): then there is one value in each 256, and it lies on the multiple or
// a little above it, by as many ids as other sessions took before it was written. A value elsewhere, two in one 256,
// or a 256 without one is such a gap. One gap in 16 does not show: one that ends just where the next value was due.
// A server that is held up for long between the id and the write looks like a gap. So this is neither proof nor
// disproof alone: it counts where the server counted an ALTER INSTANCE and nothing says which. A gap that has not
// ended shows in the server's status and the file header.
//
// The log must be of one life of the server: at its start it leaves ids out.
type Switched struct {
	last uint64
	at   LSN
}

const (
	trxSysPage     = 5   // of the system tablespace
	trxIDStore     = 38  // TRX_SYS_TRX_ID_STORE, behind the page header
	trxIDWriteStep = 256 // TRX_SYS_TRX_ID_WRITE_MARGIN
	trxIDsBefore   = 16  // ids that others may have taken before the write
)

// Record takes the next record of the log, see [Parser.Records].
func (s *Switched) Record(r Record) {
	if r.Type != Bytes8 || r.Space != 0 || r.Page != trxSysPage {
		return
	}
	var offset, id uint64
	for _, f := range r.Fields() {
		switch f.Name {
		case "offset":
			offset = f.Value
		case "value":
			id = f.Value
		}
	}
	if offset != trxIDStore {
		return
	}
	if s.at == 0 && (id%trxIDWriteStep > trxIDsBefore || s.last != 0 && id/trxIDWriteStep != s.last/trxIDWriteStep+1) {
		s.at = r.LSN
	}
	s.last = id
}

// At returns the LSN of the first record that shows that logging had been off before it.
func (s *Switched) At() (at LSN, was bool) { return s.at, s.at != 0 }
