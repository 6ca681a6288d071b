package api

import "errors"

// ErrUnknown: there is no operation or backup of that name.
var ErrUnknown = errors.New("unknown")

// ErrEnded: the operation has ended already.
var ErrEnded = errors.New("has ended already")

// ErrBehind: a reader of events was too slow and was dropped.
var ErrBehind = errors.New("too slow: events were lost")

// ErrReused: the key of the request was given to another request before.
var ErrReused = errors.New("the idempotency key was used for another request")
