// Package hooks runs the Lua scripts of users at the events of a run.
//
// The interpreter lives in a child process, because a pattern or an allocation in Lua
// cannot be bounded from inside the process that runs it:
//
//	run ── Event ──> Hooks ── JSON lines ──> child: script 1, script 2, ...
//	run ── Gate ───>   │  <── log, notify, metrics, outcome ──┘
//
// One ordered line of calls leads to the child, so a script sees events and gates in the
// order in which they happened. A call ends at its deadline; one that does not is killed
// with its process a second later, and a new process serves the next call. A hook never
// fails a run, except that before_phase can refuse a phase.
//
// # What a script can define
//
//	on_phase(e)     a phase was entered
//	on_progress(e)  the percent of preparing_backup changed; e.percent is nil at first
//	on_stall(e)     nothing moved for e.idle_seconds
//	on_end(e)       the operation ended: e.state, e.error, e.errors, e.duration
//	before_phase(e) false and a reason, or nil and a reason: the phase is not entered;
//	                nothing, or true: it is. Anything else, such as a reason alone, is an
//	                error, which refuses the phase as well (on_error = "fail")
//
// Everything else that a script defines is local. remora hook check FILE runs it against
// recorded runs and says what it would do; a failing call there fails here.
//
// Fields of e are those of the event in --json, further e.time (RFC 3339), e.unix
// (seconds), e.duration (seconds) and the LSNs as text (e.lsn_text, e.target_lsn_text).
// e.requested_by is "schedule" or "api:NAME" of what a sidecar was asked for, nil by hand.
// e and config (the table [hooks.config]) are read only. Each call begins with the script
// as it was loaded: nothing is remembered from the call before.
//
// # What a script can use
//
// Lua 5.1 without files, processes and loading: the base functions, string, table and
// math, and these:
//
//	log.debug|info|warn|error(...)           also print(...)
//	json.encode(value)  json.decode(text)    null in an array is json.null, so that what
//	                                         comes after it keeps its place; elsewhere nil.
//	                                         {} is an object, json.array() an empty array
//	http.get(url [, options])                a table with status, body, headers;
//	http.post(url, body [, options])         or nil and why. A table as body is sent as JSON.
//	                                         options: headers, timeout (seconds)
//	notify.send(text | {text=, severity=})   true, or nil and why
//	metrics.count(name [, n [, labels]])     metrics.gauge(name, value [, labels])
//	time.date(unix [, zone])                 year month day hour minute second weekday
//
// # The lock
//
// No user code runs while the server is locked. Events of that time are kept and told
// afterwards, in order. Events are told at least once: a crash can repeat them.
package hooks
