package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/remora-backup/remora/core/plug"
)

func TestErrorsKeepTheirIdentity(t *testing.T) {
	all := []error{
		plug.ErrNotExist, plug.ErrNoSpace, plug.ErrPermission, plug.ErrInvalid,
		plug.ErrLockTimeout, plug.ErrLockLost, context.Canceled, context.DeadlineExceeded,
	}
	for _, want := range all {
		got := FromStatus(ToStatus(fmt.Errorf("stat x: %w", want)))
		if got.Error() != "stat x: "+want.Error() {
			t.Errorf("got text %q", got)
		}
		for _, other := range all {
			if errors.Is(got, other) != (other == want) {
				t.Errorf("errors.Is(%v, %v) is %v", got, other, other != want)
			}
		}
	}
	plain := FromStatus(ToStatus(errors.New("broken")))
	if plain.Error() != "broken" || errors.Unwrap(plain) != nil {
		t.Errorf("got %v, want a plain error", plain)
	}
}

// A message that gRPC refuses for its size is no full storage, which has the same status.
func TestTooLargeIsNotFull(t *testing.T) {
	for _, text := range []string{
		"grpc: received message larger than max (9000000 vs. 8388608)",
		"grpc: trying to send message larger than max (9000000 vs. 8388608)",
		"CLIENT: Received message larger than max (9000000 vs. 8388608)",
		"SERVER: Sent message larger than max (9000000 vs. 8388608)",
	} {
		got := FromStatus(status.Error(codes.ResourceExhausted, text))
		if errors.Is(got, plug.ErrNoSpace) || !strings.Contains(got.Error(), "8 MiB") {
			t.Errorf("%s: got %v", text, got)
		}
	}
}
