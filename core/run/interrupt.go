package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/remora-backup/remora/core/code"
)

// Interrupted is the cause with which a run's context is cancelled from outside: by a
// signal or by a person. By names it ("SIGINT", "api:anna"); Code is its exit code.
type Interrupted struct {
	By   string
	Code code.Code
}

func (i *Interrupted) Error() string { return fmt.Sprintf("operation has been interrupted (%s)", i.By) }

// pending returns why ctx ended: an interruption, or the failure it was cancelled with.
// A context cancelled without saying why counts as interrupted. nil while ctx lives.
func pending(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(ctx)
	var i *Interrupted
	switch {
	case errors.As(cause, &i):
		return &code.Error{Code: i.Code, Err: i}
	case errors.Is(cause, context.Canceled):
		return unexplained()
	}
	return cause
}

// unexplained is an interruption of which nobody said by whom.
func unexplained() error {
	return &code.Error{Code: code.Cancelled, Err: &Interrupted{By: "cancel", Code: code.Cancelled}}
}

func isInterruption(err error) bool {
	var i *Interrupted
	return errors.As(err, &i)
}

// by says who interrupted, "" if err is no interruption.
func by(err error) string {
	var i *Interrupted
	if !errors.As(err, &i) {
		return ""
	}
	return i.By
}
