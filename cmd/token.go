package cmd

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
)

// made is a token as token --json prints it.
type made struct {
	Token  string `json:"token"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"` // of the token, which is all that a configuration holds
	Role   string `json:"role"`
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$`)

func (a *app) token() *cobra.Command {
	var role string
	var asJSON bool
	c := &cobra.Command{
		Use:   "token NAME",
		Short: "Make a token for the API, and the lines of the configuration that let it in",
		Long: "Make a token for the API, and the lines of the configuration that let it in.\n\n" +
			"The token is shown this once and kept nowhere: the configuration has its digest only. " +
			"NAME is who or what it is for; the log says it of every call that changes something.\n\n" +
			"Roles: read sees what runs and what there is, operate starts backups and cancels, admin restores and reloads.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := api.ParseRole(role)
			if err != nil {
				return code.Default(code.Usage, err)
			}
			if !tokenName.MatchString(args[0]) {
				return code.New(code.Usage, "name %.80q: want up to 64 letters, digits and _ . @ -", args[0])
			}
			token, digest := api.NewToken()
			if asJSON {
				return json.NewEncoder(a.env.Stdout).Encode(made{token, args[0], digest, r.String()})
			}
			fmt.Fprintf(a.env.Stdout, "For %s, shown this once:\n\n%s\n\n", args[0], token)
			fmt.Fprintf(a.env.Stdout, "Into the configuration, then reload:\n\n[[serve.token]]\nname = %q\nsha256 = %q\nrole = %q\n", args[0], digest, r)
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "read", "what it may do: read, operate or admin")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}
