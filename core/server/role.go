package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Role is what the server is to others at the moment. A member of a group that is neither
// (recovering, in error, unreachable) is not to be relied on.
type Role struct {
	Replica, Primary bool
	Text             string // "replica of db1:3306"
}

// Role asks the server what it is. A channel that is configured and stopped on a server that can be
// written to is what a failover left: that server is a primary.
func (s *Server) Role(ctx context.Context) (Role, error) {
	state, role, err := s.membership(ctx)
	if err != nil {
		return Role{}, fmt.Errorf("read the role of the server: %w", err)
	}
	switch {
	case state != "" && state != "OFFLINE" && state != "ONLINE":
		return Role{Text: "group member that is " + state}, nil
	case state == "ONLINE" && role != "PRIMARY":
		return Role{Replica: true, Text: "secondary of its group"}, nil
	}
	var readOnly bool
	if err := s.row(ctx, "SELECT @@read_only OR @@super_read_only", &readOnly); err != nil {
		return Role{}, fmt.Errorf("read the role of the server: %w", err)
	}
	channels, err := s.ReplicaStatus(ctx)
	if err != nil {
		return Role{}, err
	}
	for _, c := range channels {
		if readOnly || c.Receiver.State != "No" || c.ApplierRunning {
			return Role{Replica: true, Text: fmt.Sprintf("replica of %s:%d", c.SourceHost, c.SourcePort)}, nil
		}
	}
	if state == "ONLINE" {
		return Role{Primary: true, Text: "primary of its group"}, nil
	}
	return Role{Primary: true, Text: "primary"}, nil
}

// membership is what the server is in group replication: its state and role, both empty outside of any group.
func (s *Server) membership(ctx context.Context) (state, role string, err error) {
	err = s.list(ctx, list{
		what: "the members of the group", columns: []string{"MEMBER_STATE", "MEMBER_ROLE"},
		from: "FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid",
	}, func(v []string) error {
		state, role = v[0], v[1]
		return nil
	})
	if !errors.Is(err, ErrNotAllowed) {
		return state, role, err
	}
	var name, group string // who may not see the members still sees that there is no group
	const query = "SHOW GLOBAL VARIABLES LIKE 'group_replication_group_name'"
	switch seen := s.row(ctx, query, &name, &group); {
	case errors.Is(seen, sql.ErrNoRows), seen == nil && group == "":
		return "", "", nil
	}
	return "", "", err
}
