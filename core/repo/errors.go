package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
)

// damaged is the error for stored bytes that are not what was stored. It names the object.
func damaged(name, format string, args ...any) error {
	return code.New(code.Integrity, "%s is damaged: %w", name, fmt.Errorf(format, args...))
}

// failed gives an error of the storage its code. An operation that was interrupted keeps
// the reason of the interruption, without a code.
func failed(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", op, name, context.Cause(ctx))
	}
	err = fmt.Errorf("%s %s: %w", op, name, err)
	if errors.Is(err, plug.ErrNoSpace) {
		return code.Default(code.NoSpace, err)
	}
	return code.Default(code.Storage, err)
}

// lost is failed for an object that must be there.
func lost(ctx context.Context, op, name string, err error) error {
	if errors.Is(err, plug.ErrNotExist) && ctx.Err() == nil {
		return code.New(code.Integrity, "%s is missing: %w", name, err)
	}
	return failed(ctx, op, name, err)
}
