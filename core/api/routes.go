package api

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/state"
)

// routes are all there are.
func routes() []route {
	return []route{
		{method: "GET", path: "/status", role: Read, status: 200, answer: Status{}, do: getStatus},
		{method: "GET", path: "/status/restore", role: Read, status: 200, answer: RestoreStatus{}, do: getRestore},
		{method: "GET", path: "/backups", role: Read, status: 200, answer: BackupList{}, fails: []int{503}, waits: true, do: listBackups},
		{method: "POST", path: "/backups", role: Operate, body: struct{}{}, status: 202, answer: Started{}, fails: []int{409, 422, 503}, changes: true, waits: true, do: startBackup},
		{method: "GET", path: "/backups/{id}", role: Read, status: 200, answer: Backup{}, fails: []int{404, 503}, waits: true, do: getBackup},
		{method: "DELETE", path: "/backups/{id}", role: Admin, status: 204, fails: []int{404, 409, 503}, changes: true, waits: true, do: deleteBackup},
		{method: "POST", path: "/backups/{id}/verify", role: Operate, body: struct{}{}, status: 202, answer: Started{}, fails: []int{404, 409, 422, 503}, changes: true, waits: true, do: startVerify},
		{method: "POST", path: "/restores", role: Admin, body: RestoreRequest{}, status: 202, answer: Started{}, fails: []int{404, 409, 422, 503}, changes: true, waits: true, do: startRestore},
		{method: "GET", path: "/operations", role: Read, query: []string{"limit", "before"}, status: 200, answer: OperationList{}, fails: []int{503}, waits: true, do: listOperations},
		{method: "GET", path: "/operations/{id}", role: Read, status: 200, answer: state.Operation{}, fails: []int{404, 503}, waits: true, do: getOperation},
		{method: "POST", path: "/operations/{id}/cancel", role: Operate, body: struct{}{}, status: 200, answer: Status{}, fails: []int{404, 409, 503}, changes: true, waits: true, do: cancelOne},
		{method: "GET", path: "/operations/{id}/events", role: Read, status: 200, answer: Event{}, fails: []int{404, 503}, stream: followOne},
		{method: "GET", path: "/events", role: Read, status: 200, answer: Event{}, fails: []int{503}, stream: followAll},
		{method: "POST", path: "/cancel", role: Operate, query: []string{"id"}, body: struct{}{}, status: 200, answer: Status{}, fails: []int{404, 409, 503}, changes: true, waits: true, do: cancelAny},
		{method: "POST", path: "/reload", role: Admin, body: struct{}{}, status: 200, also: 202, answer: Reloaded{}, fails: []int{422, 503}, changes: true, waits: true, do: reload},
		{method: "POST", path: "/yield", role: Operate, body: YieldRequest{}, status: 200, answer: Yielded{}, changes: true, do: yield},
		{method: "PUT", path: "/schedule/pause", role: Operate, body: PauseRequest{}, status: 200, answer: Status{}, changes: true, do: pause},
		{method: "GET", path: "/config", role: Operate, status: 200, answer: map[string]any{}, do: getConfig},
		{method: "GET", path: "/healthz", role: Read, status: 200, answer: Health{}, fails: []int{503}, probe: true, do: live},
		{method: "GET", path: "/readyz", role: Read, status: 200, answer: Health{}, fails: []int{503}, probe: true, do: ready},
		{method: "GET", path: "/metrics", role: Read, status: 200, fails: []int{404}, probe: true, stream: metrics},
		{method: "GET", path: "/openapi.json", role: Read, status: 200, stream: document},
	}
}

func getStatus(_ context.Context, c *call) (any, error) { return c.sidecar.Status(), nil }

// getRestore shows no percentage but that of the live phase, whoever still has one.
func getRestore(_ context.Context, c *call) (any, error) {
	r := c.sidecar.Restore()
	if r.Phase != Preparing {
		r.PrepareProgress = nil
	}
	return r, nil
}

func getConfig(_ context.Context, c *call) (any, error) { return c.sidecar.Configuration(), nil }

func live(_ context.Context, c *call) (any, error) { return health(c.sidecar.Live()) }

func ready(_ context.Context, c *call) (any, error) { return health(c.sidecar.Ready()) }

func health(err error) (any, error) {
	if err != nil {
		return nil, failure{http.StatusServiceUnavailable, err}
	}
	return Health{"ok"}, nil
}

func listBackups(ctx context.Context, c *call) (any, error) {
	all, err := c.sidecar.Backups(ctx)
	return BackupList{append([]repo.Listed{}, all...)}, err
}

func getBackup(ctx context.Context, c *call) (any, error) {
	return answered(c.sidecar.Backup(ctx, c.id))
}

func deleteBackup(ctx context.Context, c *call) (any, error) {
	if !c.access.deletes {
		return nil, failure{http.StatusForbidden, code.Hint(code.Privilege, "[serve] allow_delete = true", "the configuration does not allow deleting by API")}
	}
	return nil, c.sidecar.DeleteBackup(ctx, c.id, c.by)
}

// start begins an operation.
func start(ctx context.Context, c *call, r Request) (any, error) {
	var err error
	if r.Key, err = c.key(); err != nil {
		return nil, err
	}
	begun, err := c.sidecar.Start(ctx, r, c.by)
	c.began = begun.ID
	return begun, err
}

func startBackup(ctx context.Context, c *call) (any, error) {
	if err := decode(c.body, new(struct{})); err != nil {
		return nil, err
	}
	return start(ctx, c, Request{Operation: "backup"})
}

func startVerify(ctx context.Context, c *call) (any, error) {
	if err := decode(c.body, new(struct{})); err != nil {
		return nil, err
	}
	return start(ctx, c, Request{Operation: "verify", Backup: c.id})
}

func startRestore(ctx context.Context, c *call) (any, error) {
	var in RestoreRequest
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	c.said = in
	r := Request{Operation: "restore", Backup: in.Backup, As: in.As}
	if r.Backup == "" {
		r.Backup = repo.Latest
	}
	if r.As == "" {
		r.As = "inert"
	}
	switch {
	case !oneID.MatchString(r.Backup):
		return nil, bad("", `backup: want an id or "latest", have %.40q`, r.Backup)
	case r.As != "inert" && r.As != "primary" && r.As != "replica":
		return nil, bad("", `as: want "inert", "primary" or "replica", have %.40q`, r.As)
	case oneName.MatchString(in.Target):
		r.Target = in.Target
	case !filepath.IsAbs(in.Target):
		return nil, bad("the configuration names targets: [[restore]] name", "target: want a name, have %.40q", in.Target)
	case !c.door.socket:
		return nil, failure{http.StatusForbidden, code.Hint(code.Usage, "name one of [[restore]] in the configuration", "target: a directory can be named on the socket only")}
	default:
		r.Dir = filepath.Clean(in.Target)
	}
	return start(ctx, c, r)
}

func listOperations(ctx context.Context, c *call) (any, error) {
	q, limit := c.r.URL.Query(), 100
	if text := q.Get("limit"); q.Has("limit") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return nil, bad("", "limit: want 1 to 1000, have %.40q", text)
		}
		limit = n
	}
	before := q.Get("before")
	if q.Has("before") && !oneID.MatchString(before) {
		return nil, bad("", "before: %.40q is not an id", before)
	}
	all, err := c.sidecar.Operations(ctx, limit, before)
	return OperationList{append([]state.Operation{}, all...)}, err
}

func getOperation(ctx context.Context, c *call) (any, error) {
	return answered(c.sidecar.Operation(ctx, c.id))
}

func cancelOne(ctx context.Context, c *call) (any, error) {
	if err := decode(c.body, new(struct{})); err != nil {
		return nil, err
	}
	return answered(c.sidecar.Cancel(ctx, c.id, c.by))
}

// cancelAny is as package control has it.
func cancelAny(ctx context.Context, c *call) (any, error) {
	if id := c.r.URL.Query().Get("id"); id == "" || oneID.MatchString(id) {
		c.id = id
		return cancelOne(ctx, c)
	}
	return nil, bad("", "id: %.40q is not an id", c.r.URL.Query().Get("id"))
}

func reload(ctx context.Context, c *call) (any, error) {
	if err := decode(c.body, new(struct{})); err != nil {
		return nil, err
	}
	done, err := c.sidecar.Reload(ctx, c.by)
	if code.Of(err) == code.Usage {
		return nil, failure{http.StatusUnprocessableEntity, err} // it is not the request that is wrong
	}
	return done, err
}

func yield(ctx context.Context, c *call) (any, error) {
	in := YieldRequest{For: "5m"}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	c.said = in
	d, err := time.ParseDuration(in.For)
	if err != nil || d <= 0 || d > 24*time.Hour {
		return nil, bad("", `for: want a duration up to 24h, as "5m", have %.40q`, in.For)
	}
	return answered(c.sidecar.Yield(ctx, d, c.by))
}

func pause(ctx context.Context, c *call) (any, error) {
	var in PauseRequest
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	c.said = in
	var until time.Time
	given, _ := walk(c.body)
	switch {
	case !slices.Contains(given, "until"):
		return nil, bad("", "until is missing; null ends a pause")
	case in.Until != nil && !in.Until.After(time.Now()):
		return nil, bad("", "until: %s is over; null ends a pause", in.Until.Format(time.RFC3339))
	case in.Until != nil:
		until = *in.Until
	}
	if err := c.sidecar.Pause(ctx, until, c.by); err != nil {
		return nil, err
	}
	return c.sidecar.Status(), nil
}

// answered makes a typed pair one of any and error.
func answered[T any](v T, err error) (any, error) { return v, err }
