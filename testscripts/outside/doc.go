// Package outside tries what comes from outside: servers that nobody would set up, and what may
// happen to them while they are backed up.
//
// Each draw makes a server (settings, directories, engines, keys, names), lets something happen
// during a backup, restores it, starts the restored server as the README says and compares
// everything. What says that it is completed and is not the same is a failure; what is refused is
// counted, and told by its exit code and message. Everything follows from the seed. Without flags
// one small draw is made, always the same; with them as many as wanted, or one again:
//
//	go test ./testscripts/outside -run TestOutside -outside.count=200 -timeout 3h
//	go test ./testscripts/outside -run TestOutside -outside.seed=4711 -v
//
// TestEverySetting gives the variables of the server that can be set while it runs odd values, a
// dozen of them at a time:
//
//	go test ./testscripts/outside -run TestEverySetting -outside.settings=all -timeout 3h
package outside
