// Package run carries out a list of phases in order.
//
// It knows no MySQL. What happens in a run is told as events; whoever wants to know
// (history, hooks, notifications, the log, the terminal, --json) reads them from its
// own queue and can neither slow nor fail the run:
//
//	Plan ── Do ──> Phase.Do(ctx, task) ── task ──> events ──> queue ──> Reader
//	                                                    └───> queue ──> Reader
//
// A run ends once, with one answer: the first error that was reported, or the
// interruption that was pending when a step failed. Errors of the clean-up are added and
// never replace it. After Task.Commit nothing changes the answer any more.
package run
