// Package testscripts holds stories that are told to the real program.
//
// Each *.txtar file is one story: a script of commands and the files it needs. The remora
// that a story runs is built from cmd/remora, every operation is a process of its own, and
// the servers are real ones. To tell the stories about restores and show each step:
//
//	go test ./testscripts -run 'Stories/^restore_' -v
//
// $ROOT is the top of this module, $WORK the story's directory, $MYSQLD the server's program.
// Beside the commands of testscript a story has these. NAME is a word of the story's own.
//
//	source
//	    Exports SOURCE_SOCKET of a loaded server that all stories share: they read it and lock
//	    it, and leave its tables alone.
//	mysqld NAME [-data DIR] [-load] [-persisted] [ARGUMENT...]
//	    Starts a server of the story's own, on restored data if DIR is named, and exports
//	    NAME_SOCKET and NAME_LOG. With -load it gets tables of every kind, with -persisted it
//	    reads persisted variables, as one does that is started with a configuration file.
//	listen NAME, heard NAME [none]
//	    Listens on 127.0.0.1 at the port $NAME_PORT; waits until somebody connects there, or
//	    fails if somebody did.
//	keyring
//	    The servers that the story starts from then on have component_keyring_file, with their
//	    keys in $KEYRING; so has the mysqld of config.
//	stopmysqld NAME
//	sql NAME STATEMENT...
//	    Runs statements as root; the rows of the last one are the standard output.
//	await NAME VALUE STATEMENT
//	    Repeats a query until its only value is VALUE.
//	imported NAME TABLE COPY
//	    Makes the table COPY by EXPORT of TABLE and IMPORT TABLESPACE.
//	divider VARIABLE NAME...
//	    Opens a port, whose number is then in VARIABLE, that leads each new connection to the
//	    next one of the servers.
//	writers NAME N, stopwriters NAME
//	    Keeps N sessions writing. They must have committed something when they are stopped.
//	same SOURCE RESTORED
//	    Replicates from the position that remora list reports, then compares CHECKSUM TABLE of
//	    all tables; the log of RESTORED must hold no error.
//	config NAME [-user USER] [-grants all|least|none] [-without PRIVILEGE] [FILE...]
//	    Makes an account on the server (none: there is no server) with the GRANTs of README.md and writes remora.toml for
//	    it, to which the FILEs are added with their $VARIABLES replaced. The storage is $WORK/repo
//	    unless a FILE has one. $LOCKS is a query that counts the locks the account holds.
//
//	exits CODE PROGRAM [ARGUMENT...]
//	    Runs a program that must end with that exit code.
//	start NAME PROGRAM [ARGUMENT...], ended NAME CODE, signal NAME INT|TERM|HUP|KILL
//	    The same in the background; its output is in NAME.stdout and NAME.stderr all the time.
//	killplugin NAME KIND
//	    Kills the plugin of that kind that the background program NAME runs.
//	sync COMMAND...
//	    Orders for a program that runs with --debug-sync $SYNC: see core/syncpoint/debug.
//	tty CODE PROGRAM [ARGUMENT...]
//	    Runs a program on a terminal. What the terminal got is the standard output, and is in
//	    the file terminal all the time.
//	gobuild PACKAGE NAME
//	    Builds a program of this module into $WORK.
//
//	fields FILE [KEY=VALUE...] KEY...
//	    Prints the KEYs of each JSON object, one on a line, of FILE or stdout; only of those
//	    that have all the VALUEs. What an object does not have is a dash.
//	keys FILE [KEY=VALUE...]
//	    Prints the names of the keys of the last such object, one on a line, sorted.
//	sqlite FILE STATEMENT
//	    Runs a statement on an SQLite database and prints its rows.
//	capture VARIABLE
//	    Sets a variable to the standard output of the command before.
//	climbs
//	    The standard output of the command before is percents: a dash, then 0 to 100, rising.
//	count N FILE
//	    The FILE or stdout has N lines.
//	flip FILE
//	    Changes a byte in the middle of a file; once more and the file is as before.
//	webhook NAME
//	    Starts an HTTP server that adds each JSON object it is sent to NAME.jsonl, and exports
//	    NAME_URL.
package testscripts
