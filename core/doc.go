// Package core is the map of Remora; it holds no code.
//
// A backup and a restore are lists of phases. The core carries the phases out and speaks
// to three contracts: where bytes are kept, how the server is locked, who is told. What
// fulfils a contract runs as a process of its own, built in or not.
//
//	cmd/remora     main: arguments, exit code, signals, terminal
//	cmd            one file per command; wires all that follows, turns signals into calls
//	   |
//	   +-- plugins/host      starts a plugin, watches it, speaks gRPC to it     \
//	   |   plugins/sdk       what the author of a plugin imports                 } processes
//	   |   plugins/fs, mysqllock, notifylog, webhook, heartbeat    built in      /
//	   +-- hooks             Lua scripts in a child process
//	   |
//	   +-- core/backup       phases: follow redo, copy, catch up, lock, sync point, seal
//	   |      +-- core/copier    reads files that a server is changing, until every page is whole
//	   |      +-- core/redolog   follows the redo log of a running server
//	   |      +-- core/datadir   finds the files of a running server
//	   |   core/restore      phases: fetch, prepare, publish.  These two meet only in repo.
//	   |   core/prepare      phases: a raw directory, ours or XtraBackup's, made consistent in place
//	   |      |
//	   |      +-- core/repo      packs, extents, index, manifest, on top of a plug.Storage
//	   |      +-- core/server    SQL to the live server (backup)
//	   |      +-- core/mysqld    a mysqld that we start (restore)
//	   |      +-- core/inert     what keeps a restored server quiet, and the record of what it is
//	   |      +-- core/staging   an unfinished directory that becomes its target by renames (restore)
//	   |      +-- core/redomake  the redo log that it recovers from, made of a backup's blocks
//	   |      +-- core/serverfile  opens a file of the server's: no link, no FIFO in its place
//	   |      +-- core/innodb/page, redo, tablespace, undo; core/binlog, core/sdi, core/xtrabackup    pure formats
//	   |      +-- core/keyring   the keys of an encrypted redo log
//	   |
//	   +-- core/operate      one operation with all that surrounds it: history, hooks, notices,
//	   |                     interruption, what earlier ones left; for a command and for a daemon
//	   +-- core/serve        the sidecar: one operation after the other, requests, events, reload
//	   +-- core/client       speaks to the sidecar of this host, for the commands
//	   +-- core/adopt        compares a started server with what was restored, and lets it live
//	   +-- core/run          phases in order, events, interruption; has no MySQL in it;
//	   |                     runtest gives tests a plan made of functions and a recorder of events
//	   +-- core/plug         the contracts; plugtest proves that a plugin keeps them, and has
//	   |                     the storage and the lock in memory that tests stand on
//	   +-- core/api          the sidecar over HTTP: who may do what, requests, streams of events
//	   +-- core/metrics      what a sidecar counts, for Prometheus
//	   +-- core/state        history and progress of operations, in SQLite
//	   +-- core/control      status and cancel of the running operation, on a socket
//	   +-- core/config       TOML to settings
//	   +-- core/doctor       what can be known before the first backup: a list of checks
//	   +-- core/schedule     when an operation is due, and why it is not; told the time, never asking
//	   +-- core/code         what an error means: exit codes
//	   +-- core/syncpoint    named places where tests hold a run
//	   +-- core/nearest      the known word that a mistyped one was meant to be
//	   +-- core/needs        what a test does when the machine lacks something
//	   +-- core/durable      tells from a trace what was promised before it was durable; for tests
//	   +-- core/version      MySQL versions, and who may open whose data
//
// Arrows point down only, and the test in this directory holds the table.
//
// # Where is ...
//
//	a page's checksum verified        core/innodb/page/verify.go, called by core/copier/worker.go
//	the redo of a live server read    core/redolog/files.go, follow.go
//	a redo record parsed              core/innodb/redo/parser.go, record.go
//	a table of another engine known   core/sdi, core/server/engines.go
//	found what there is to copy       core/backup/survey.go, with core/datadir
//	decided what to copy again        core/backup/ledger.go
//	the server locked                 core/backup/lock.go, holding.go, through plugins/mysqllock
//	a lock waited for, in nobody's way core/backup/lockwait.go, plugins/mysqllock/blockers.go
//	what is read under the lock kept  core/copier/kept.go, stored by core/backup/cutlogs.go
//	an extent's place and digest      core/repo/index.go
//	the recovering server tried first core/mysqld/try.go, called by core/restore/fetch.go
//	what it says held to the manifest core/mysqld/answers.go, seen.go; core/restore/seen.go
//	an unfinished restore looked at   core/staging/target.go, state.go
//	a restore published               core/staging/publish.go, called by core/restore/publish.go
//	the prepare percentage computed   core/mysqld/progress.go
//	found what will go wrong at night core/doctor/doctor.go: the list of checks
//	a run found due, or not           core/schedule/due.go; summer time in line.go
//	an exit code defined              core/code/code.go
//	a directory's maker told by       core/prepare/source.go; export.go, xtrabackup_*.go
//	a redo log made for a server      core/redomake
//	a prepared XA transaction named   core/innodb/undo, core/inert/xa.go
//	a restored server kept quiet      core/inert, by core/restore/quiet.go
//	files of another life looked for  core/restore/leftovers.go
//	a sync point listed               core/syncpoint/points.go
//	every one of them interrupted     testscripts/stop
//	a server for a test started       core/mysqld/mysqldtest, by core/mysqld/lab
//	a crashed operation cleared up    core/operate/earlier.go
//	a call of the API found           core/api/routes.go; openapi.json describes them all
//	who calls the API told            core/api/identity.go, access.go
//	an event said in words            core/operate/words.go
//	a request to the sidecar begun    core/serve/job.go
//	the percents of /status/restore   core/serve/status.go
//	the server's lock yielded         core/serve/yield.go
//	the wire of plugins described     plugins/proto/README.md
//
// # How a backup reads
//
// core/backup/backup.go is the story: each phase is a small struct whose fields say what it
// needs and whose result says what it gives, so that the compiler holds their order: nobody can
// name a locked server who has not locked it. What a phase takes is given back by the
// Task.Cleanup that stands beside the taking, the newest first; what is registered while the
// server is locked takes no time.
//
// A phase says what happens. What has to be done again is entered again, told and gated
// again: following_redo, copying_tablespaces and catching_up when a table was imported and the
// redo at hand is of no use; catching_up and locking when DDL that ended while the lock was
// waited for left more to copy than the lock may be held for. The lock is given back before,
// so nothing is copied for long, and no gate or hook asked, while the server is locked.
//
// # What holds everywhere
//
// A step is done when its result was seen, never because nobody complained: lists, settings, log
// lines, clocks and files that lie around are not believed. A backup exists if and only if its manifest does; the manifest is put last. A page is
// copied only if its checksum is right. Names in a backup are hostile input. While the
// server is locked nobody is waited for but the server and the disk. Readers of events
// never slow or fail a run. The first error is the answer; an interruption that came
// before it outranks it; nothing after the commit point changes it.
package core
