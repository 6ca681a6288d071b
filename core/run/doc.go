// Package run carries out a list of phases in order.
//
// It asks no server; of MySQL it has only what events carry: databases, LSN, the session that
// holds the lock. What happens in a run is told as events; whoever wants to know
// (history, hooks, notifications, the log, the terminal, --json) reads them from its
// own queue and can neither slow nor fail the run:
//
//	Plan.Do ── Enter(phase) ──> do(ctx, task) ── task ──> events ──> queue ──> Reader
//	                                                           └───> queue ──> Reader
//
// A run ends once, with one answer: the first error that was reported, or the
// interruption that was pending when a step failed. Errors of the clean-up are added and
// never replace it. After Task.Commit nothing changes the answer any more. A run whose
// clean-up does not end can be left; it has its end and its answer all the same.
package run
