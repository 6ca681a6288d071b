package api

import "time"

// door is where requests come in.
type door struct {
	name      string // "socket", or the address
	socket    bool   // those who knock are users of this host
	probes    bool   // nobody is asked who he is, and there is nothing to be had
	certified func(host string) bool
}

// limits bound what a caller can take; they differ in tests only.
type limits struct {
	header, read, idle time.Duration // of a connection
	answer             time.Duration // of one call, and of one write of a stream
	heartbeat          time.Duration // between two signs of life of a stream
	connections        int           // at one door
}
