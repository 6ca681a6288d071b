package tablespace

// Space ids that are given away in advance (dict_sys_t in dict0dict.h).
const (
	System      uint32 = 0          // innodb_system: ibdata1 and its like
	Dictionary  uint32 = 0xFFFFFFFE // mysql.ibd
	Temporary   uint32 = 0xFFFFFFFD // ibtmp1
	Invalid     uint32 = 0xFFFFFFFF
	redo        uint32 = 0xFFFFFFF0
	undoSpaces         = 127    // as many undo tablespaces there can be
	undoRenewed        = 400000 // and so often each can be truncated under an id of its own
	lastUndo           = redo - 1
	firstUndo          = redo - undoSpaces*undoRenewed
	firstTemp          = firstUndo - 1000 - 400000
)

// IsUndo reports whether the space id is an undo tablespace's. Truncating one
// gives it another id of this range.
func IsUndo(space uint32) bool { return space >= firstUndo && space <= lastUndo }

// UndoNumber returns which of the 127 undo tablespaces has this id, from 1 on,
// and 0 if none has (undo::id2num in trx0purge.h).
func UndoNumber(space uint32) int {
	if !IsUndo(space) {
		return 0
	}
	return int((lastUndo-space)%undoSpaces) + 1
}
