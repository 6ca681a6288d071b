// Package debug lets somebody outside hold, fail or end a running process at its sync points.
//
// A Server is the syncpoint.Controller of the process; it listens on a unix socket. No
// point lets anybody pass before a client says go, so what is armed first is in time for
// the very first point. Commands are lines, and so are the answers; the last line of an
// answer begins with "ok" or "error:".
//
//	arm POINT [pause|fail|kill|exit] [nth=N] [every]
//	    The Nth goroutine (1 if not said, counted from now) that comes to POINT is paused
//	    (if nothing else is said), gets an error, or ends the process: by SIGKILL, or by
//	    exit without any clean-up. With every, so do all after it. Replaces what was
//	    armed at POINT before.
//	disarm POINT
//	go
//	    Lets the process begin.
//	wait POINT [n=N] [timeout=DURATION]
//	    Answers when N goroutines (1) are held at POINT; error after the timeout (30s).
//	resume POINT
//	    Lets those go on that are held at POINT, disarms it, and tells how many they were.
//	list
//	    All points in the order of a run, with what is armed, held and hit there.
//	hits
//	    How often each point was come to, those at least once.
//	attach
//	    When this connection ends everything is disarmed and everybody goes on.
//
// What is armed belongs to the process, not to the connection, unless attach was said.
// Nobody is held longer than MaxHold.
//
// A goroutine whose context ends goes on at once and without an error: interruption is
// what the code behind the point has to notice by itself, and what the tests want to see.
package debug
