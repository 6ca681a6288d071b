package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/remora-backup/remora/core/plug"
)

// table pairs the errors a caller acts on with the codes that carry them. None of the
// codes of plug's errors is one that gRPC makes up itself on a healthy connection, but for
// a message that is too large.
func table() []pair {
	return []pair{
		{plug.ErrNotExist, codes.NotFound},
		{plug.ErrNoSpace, codes.ResourceExhausted},
		{plug.ErrPermission, codes.PermissionDenied},
		{plug.ErrInvalid, codes.InvalidArgument},
		{plug.ErrLockTimeout, codes.Aborted},
		{plug.ErrLockLost, codes.FailedPrecondition},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
	}
}

type pair struct {
	err  error
	code codes.Code
}

// ToStatus makes err fit for the wire: its text and, if it has one, its identity.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	for _, p := range table() {
		if errors.Is(err, p.err) {
			return status.Error(p.code, err.Error())
		}
	}
	return status.Error(codes.Unknown, err.Error())
}

// FromStatus gives an error from the wire its text and identity back.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	if tooLarge(s) {
		return &remoteError{text: fmt.Sprintf("a message was larger than it may be, %d MiB: %s", MaxMessage>>20, s.Message())}
	}
	for _, p := range table() {
		if s.Code() == p.code {
			return &remoteError{text: s.Message(), is: p.err}
		}
	}
	return &remoteError{text: s.Message()}
}

// tooLarge says whether gRPC itself refused a message for its size. Its status then is that
// of a full storage; the words are those of its libraries in Go and in C.
func tooLarge(s *status.Status) bool {
	return s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "message larger than max")
}

// remoteError is an error that happened in the plugin.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }
