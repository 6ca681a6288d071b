package syncpoint

import "slices"

// Operation is one kind of operation, or several.
type Operation uint8

const (
	Backup Operation = 1 << iota
	Restore
	Export
	Prepare // of an export, in place
	Foreign // the same of a directory as XtraBackup makes it

	anyOperation = Backup | Restore | Export | Prepare | Foreign
)

// Place is a point and what holds there. What becomes true at a point is true at those after it,
// for the operations named.
type Place struct {
	Point   Point
	In      Operation // comes to it
	After   Point     // of the clean-up: where the operation must fail to come here; "" if it always does
	Locks   bool      // the server is locked from here on,
	Unlocks bool      // and from here on it is not
	Changes Operation // data that were there are being changed from here on
	Commits Operation // nothing makes the operation fail any more, from here on
	Differs bool      // there is more to do here for a directory of XtraBackup's than for an export
}

// Places returns what holds at the points of an operation, in their order.
func (o Operation) Places() []Place {
	return slices.DeleteFunc(slices.Clone(places), func(p Place) bool { return p.In&o == 0 })
}

// Points returns the points of an operation, in their order.
func (o Operation) Points() (all []Point) {
	for _, p := range o.Places() {
		all = append(all, p.Point)
	}
	return all
}

// Phases returns the points of an operation's phases: those before the first and after the last
// are left out.
func (o Operation) Phases() (all []Point) {
	for _, p := range o.Points() {
		if w := p.Phase(); w != "operation" && w != "cleanup" {
			all = append(all, p)
		}
	}
	return all
}

// State is what is so at a point of an operation.
type State struct{ Locked, Changing, Committed bool }

// At returns what is so where the operation is held at p.
func (o Operation) At(p Point) (s State) {
	for _, at := range o.Places() {
		s.Locked = (s.Locked || at.Locks) && !at.Unlocks
		s.Changing = s.Changing || at.Changes&o != 0
		s.Committed = s.Committed || at.Commits&o != 0
		if at.Point == p && at.After != "" {
			return o.At(at.After)
		}
		if at.Point == p {
			return s
		}
	}
	return State{}
}
