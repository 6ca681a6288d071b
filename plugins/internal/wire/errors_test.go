package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"

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
