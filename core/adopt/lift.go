package adopt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
)

// Statements are what makes the quiet server of r what as says, in the order in which they are
// carried out. Events stay off until the next start, from which on my.cnf counts again: nobody
// but its owner knows whether they are to run.
func Statements(r inert.Record, as inert.Role) (all []string) {
	var lifted []inert.Setting
	for _, s := range r.Set {
		if s.Value != "" && !stays(s.Name, as) {
			lifted = append(lifted, s)
		}
	}
	if as == inert.Primary {
		all = append(all, "STOP REPLICA", "RESET REPLICA ALL")
		for _, name := range []string{"super_read_only", "read_only"} {
			if slices.ContainsFunc(lifted, func(s inert.Setting) bool { return s.Name == name }) {
				all = append(all, "SET GLOBAL "+name+" = OFF")
			}
		}
	}
	for _, one := range inert.Statements(lifted) {
		all = append(all, strings.TrimSuffix(one, ";"))
	}
	return all
}

// stays reports whether a server of that role keeps the setting: nobody but its source writes
// to a replica, the events that came with the data are its source's, and it has no relay logs
// from before.
func stays(name string, as inert.Role) bool {
	switch as {
	case inert.Primary:
		return false
	case inert.Replica:
		return slices.Contains([]string{"super_read_only", "read_only", "event_scheduler", "relay_log_recovery"}, name)
	}
	return true
}

// Lift carries the statements out, tells each, and looks whether they did it.
func Lift(ctx context.Context, s Server, r inert.Record, as inert.Role, tell func(statement string)) error {
	all := Statements(r, as)
	for i, one := range all {
		tell(one)
		if err := s.Do(ctx, one); err != nil {
			hint := code.HintOf(err)
			if hint == "" {
				hint = "as an administrator of that server: " + strings.Join(all[i:], "; ")
			}
			return code.Hint(code.Of(err), hint, "lift what keeps the server quiet: %w", err)
		}
	}
	now, err := s.Quiet(ctx)
	if err != nil {
		return err
	}
	if as == inert.Primary && now.ReadOnly {
		return code.New(code.Unclassified, "the server still takes no writes, though all statements were carried out")
	}
	for _, one := range r.Set {
		if value, ok := now.Persisted[one.Name]; ok && one.Was == nil && value == one.Value && !stays(one.Name, as) {
			return code.New(code.Unclassified, "%s = %s is still persisted, though all statements were carried out", one.Name, value)
		}
	}
	return nil
}

// Afterwards says, for people, what the server is then.
func Afterwards(as inert.Role) string {
	switch as {
	case inert.Primary:
		return "It takes writes and follows nobody. Events are off until its next start; to run them now: SET GLOBAL event_scheduler = ON"
	case inert.Replica:
		return "It takes no writes and runs no events. To let it follow its source: START REPLICA"
	}
	return fmt.Sprintf("It stays quiet. To lift that: remora adopt --as %s, or --as %s", inert.Primary, inert.Replica)
}
