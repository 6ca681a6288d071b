// Package stop interrupts the real program at every sync point, in every way, and checks what it answers.
//
// Each run stops one backup, restore, export or prepare at a point (see core/syncpoint), does one thing to it, lets
// it go on, and asks the same questions afterwards: see oracle_test.go. Under plain go test a few runs and a few
// scenarios are made, and every point is passed. With -faults every point is stopped in at least one way, every way
// is tried at several points, and every scenario is run; -matrix.full is all of it:
//
//	go test ./testscripts/stop -run '^(TestScenarios|TestMatrix)$' -faults -timeout 25m
//	go test ./testscripts/stop -run TestMatrix -matrix.full -timeout 60m
//
// -matrix.only selects runs by a regular expression on their names, such as backup/lock.held/kill_host;
// -matrix.workers says how many go on at a time, each with a server of its own.
package stop
