package redo

// Switched finds out from the log itself whether redo logging was switched off and on again within it: pages that
// changed meanwhile left no trace in it, so a backup that spans such a gap is worthless. Neither the file headers
// nor the server's status keep that, and its error log can be told to be silent.
//
// To end the gap the server writes the next transaction id into the system tablespace, wherever that id stands
// (mtr0mtr.cc, mtr_t::Logging::enable). Otherwise it does so only once in 256 ids, when the id passes a multiple
// (trx0sys.ic, trx_sys_allocate_trx_id_or_no): then the values lie 256 apart, on multiples or one above. A value
// elsewhere, twice the same one, or a step that is missing is such a gap. One gap in 256 does not show: the one
// that ends exactly where the next value was due. So a break is proof, and none is none: ask the server, too, how
// often ALTER INSTANCE was used. A gap that has not ended shows in the server's status and the file header.
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
	if s.at == 0 && (id%trxIDWriteStep > 1 || s.last != 0 && id != s.last+trxIDWriteStep) {
		s.at = r.LSN
	}
	s.last = id
}

// At returns the LSN of the first record that shows that logging had been off before it.
func (s *Switched) At() (at LSN, was bool) { return s.at, s.at != 0 }
