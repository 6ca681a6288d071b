package api

import "fmt"

// Role is what somebody may do. Each may do what the ones before it may.
type Role int

const (
	Nobody  Role = iota
	Read         // see what runs and what there is; no paths, no texts of errors, no configuration
	Operate      // start backups, cancel, yield, pause
	Admin        // restore, reload, and delete if the configuration allows that
)

// ParseRole knows "read", "operate" and "admin".
func ParseRole(s string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if r.String() == s {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf(`role %q: one of "read", "operate", "admin"`, s)
}

func (r Role) String() string {
	return [...]string{"nobody", "read", "operate", "admin"}[r]
}
