package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// call is a request of somebody who may make it.
type call struct {
	sidecar Sidecar
	r       *http.Request
	door    *door
	access  *access        // in force when it came
	now     func() *access // in force now
	by      Actor
	limits  limits
	streams *streams
	metrics http.Handler // nil: there are none
	id      string       // in the path
	body    []byte       // nil: none
	said    any          // what the body said, for the log
	began   string       // id of the operation that was begun
}

// route is one thing that can be asked. The OpenAPI document is held against this table.
type route struct {
	method, path string
	role         Role
	query        []string // names that may be given, each once
	body         any      // a value of the type that a body is decoded to; nil: there is none
	status       int      // of success
	also         int      // another status of success, 0: none
	answer       any      // a value of the type of the answer; nil: there is no body
	fails        []int    // statuses of its own kind of failure; those of every route are not among them
	changes      bool     // something: it leaves a line in the log
	waits        bool     // for storage, history or server
	probe        bool     // it is served at the door for probes, too
	do           func(ctx context.Context, c *call) (any, error)
	stream       func(w http.ResponseWriter, c *call) error // instead of do
}

var (
	oneID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	oneName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)
	oneKey  = regexp.MustCompile(`^[!-~]{1,200}$`)
)

// find returns the route of a method and a path, and the id in it. Without one it returns
// which methods that path has.
func find(routes []route, method, path string) (found *route, id string, allowed []string) {
	have := strings.Split(path, "/")
	for i := range routes {
		want := strings.Split(routes[i].path, "/")
		at, ok := along(want, have)
		switch {
		case !ok:
		case routes[i].method == method:
			return &routes[i], at, nil
		default:
			allowed = append(allowed, routes[i].method)
		}
	}
	return nil, "", allowed
}

func along(want, have []string) (id string, ok bool) {
	if len(want) != len(have) {
		return "", false
	}
	for i := range want {
		if want[i] == "{id}" {
			id = have[i]
			continue
		}
		if want[i] != have[i] {
			return "", false
		}
	}
	return id, true
}

// check looks at what every call has before anything is done for it.
func (c *call) check(rt *route) error {
	if strings.Contains(rt.path, "{id}") && !oneID.MatchString(c.id) {
		return bad("", "the path: %.40q is not an id", c.id)
	}
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return bad("", "the query: %w", err)
	}
	for name, values := range query {
		if len(values) > 1 {
			return bad("", "the query: %.40q is there twice", name)
		}
		if !slices.Contains(rt.query, name) {
			return bad("", "the query: unknown name %.40q", name)
		}
	}
	if rt.body == nil && len(c.body) > 0 {
		return bad("", "this call takes no body")
	}
	return nil
}

// key is the Idempotency-Key, made the caller's own.
func (c *call) key() (string, error) {
	given := c.r.Header.Values("Idempotency-Key")
	switch {
	case len(given) == 0:
		return "", nil
	case len(given) > 1 || !oneKey.MatchString(given[0]):
		return "", bad("", "the header Idempotency-Key: want one of 1 to 200 visible ASCII characters")
	}
	whose, _ := json.Marshal([]any{c.door.socket, c.by.Name, given[0]})
	return string(whose), nil
}

// what is the call in a line of the log.
func (c *call) what(rt *route) string {
	text := rt.method + " " + rt.path
	if oneID.MatchString(c.id) {
		text = strings.Replace(text, "{id}", c.id, 1)
	}
	if c.said != nil {
		said, _ := json.Marshal(c.said)
		text += " " + string(said)
	}
	return text
}
