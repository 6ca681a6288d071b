package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
)

func (a *app) hidden() []*cobra.Command { return []*cobra.Command{a.serveHooks()} }

// debugSync lets socket command the sync points of the operation; "" is none.
func (o *operation) debugSync(ctx context.Context, socket string) (context.Context, error) {
	if socket == "" {
		return ctx, nil
	}
	return ctx, code.New(code.Usage, "debug sync is not part of this binary")
}
