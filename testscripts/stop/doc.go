// Package stop interrupts the real program at every sync point, in every way, and checks what it answers.
//
// Each run stops one backup, restore, export or prepare at a point (see core/syncpoint), does one thing to it, lets
// it go on, and asks the same questions afterwards: see oracle_test.go. Under plain go test every point is stopped in at least
// one way and every way is tried at several points. All of it:
//
//	go test ./testscripts/stop -run TestMatrix -matrix.full -timeout 60m
//
// -matrix.only selects runs by a regular expression on their names, such as backup/lock.held/kill_host;
// -matrix.workers says how many go on at a time, each with a server of its own.
package stop
