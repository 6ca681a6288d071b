package api

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

var update = flag.Bool("update", false, "write openapi.json anew; the summaries in it stay")

// everywhere are the statuses that any call can get, with what they say.
var everywhere = map[int]string{
	400: "the request is malformed: the error names what is wrong",
	401: "nobody knows who asks",
	403: "who asks may not do this, or a page of another site sent it",
	413: "the body is larger than 1 MiB",
	415: "the body is not application/json",
	421: "the header Host is none of our names",
	429: "too many wrong tokens from this address",
}

var own = map[int]string{
	200: "done", 202: "begun; it goes on after the answer", 204: "done",
	404: "there is none of that name",
	409: "it cannot be done now: another operation runs, or this one has ended",
	422: "the idempotency key belongs to another request, or the new configuration is wrong",
	503: "not now: it took too long, or the sidecar cannot work",
}

// TestDocument holds openapi.json against the routes and the Go types of what goes in and out:
// whatever is in one of them only is a difference.
func TestDocument(t *testing.T) {
	var have map[string]any
	if err := json.Unmarshal(openAPI, &have); err != nil {
		t.Fatal(err)
	}
	d := &documented{t: t, schemas: map[string]any{}, comments: comments(t)}
	want := plain(t, d.document(have))
	if *update {
		text, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("openapi.json", append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	differ(t, "", have, want)
}

// documented makes the document.
type documented struct {
	t        *testing.T
	schemas  map[string]any
	comments map[string]string // of a type, or Type.Field
}

type object = map[string]any

func (d *documented) document(have object) object {
	paths := object{}
	for _, rt := range routes() {
		at, _ := paths[rt.path].(object)
		if at == nil {
			at = object{}
			paths[rt.path] = at
		}
		at[strings.ToLower(rt.method)] = d.operation(rt, summary(have, rt))
	}
	responses := object{"default": object{"description": "it failed; the code is that of the command line", "content": asJSON(d.schema(reflect.TypeOf(Error{})))}}
	for status, text := range everywhere {
		responses[strconv.Itoa(status)] = object{"description": text, "content": asJSON(d.schema(reflect.TypeOf(Error{})))}
	}
	return object{
		"openapi": "3.0.3",
		"info":    have["info"],
		"paths":   paths,
		"components": object{
			"schemas": d.schemas, "responses": responses,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []any{object{"token": []any{}}},
	}
}

func summary(have object, rt route) string {
	paths, _ := have["paths"].(object)
	at, _ := paths[rt.path].(object)
	op, _ := at[strings.ToLower(rt.method)].(object)
	text, _ := op["summary"].(string)
	return text
}

func asJSON(schema any) object { return object{"application/json": object{"schema": schema}} }

func (d *documented) operation(rt route, summary string) object {
	if summary == "" {
		d.t.Errorf("%s %s has no summary in the document", rt.method, rt.path)
	}
	answers := object{"default": object{"$ref": "#/components/responses/default"}}
	for status := range everywhere {
		answers[strconv.Itoa(status)] = object{"$ref": fmt.Sprintf("#/components/responses/%d", status)}
	}
	for _, status := range rt.fails {
		answers[strconv.Itoa(status)] = object{"description": own[status], "content": asJSON(d.schema(reflect.TypeOf(Error{})))}
	}
	for _, status := range []int{rt.status, rt.also} {
		if status != 0 {
			answers[strconv.Itoa(status)] = d.success(rt, status)
		}
	}
	op := object{"summary": summary, "x-role": rt.role.String(), "responses": answers}
	if rt.probe {
		op["x-probe"] = true
	}
	if rt.body != nil {
		op["requestBody"] = object{"content": asJSON(d.schema(reflect.TypeOf(rt.body)))}
	}
	var params []any
	if strings.Contains(rt.path, "{id}") {
		params = append(params, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string", "pattern": oneID.String()}})
	}
	for _, name := range rt.query {
		params = append(params, object{"name": name, "in": "query", "schema": object{"type": "string"}})
	}
	if rt.status == 202 {
		params = append(params, object{"name": "Idempotency-Key", "in": "header", "schema": object{"type": "string", "pattern": oneKey.String()}})
	}
	if _, ok := rt.answer.(Event); ok {
		params = append(params, object{"name": "Last-Event-ID", "in": "header", "schema": object{"type": "integer"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	return op
}

func (d *documented) success(rt route, status int) object {
	answer := object{"description": own[status]}
	switch v := rt.answer.(type) {
	case Event:
		answer["description"] = "server-sent events, each with its number as id, its kind as event and an Event as data; " +
			"besides, lost: events after Last-Event-ID are kept no more, and closed: the last one, with a reason (behind, revoked, closing, ended)"
		answer["content"] = object{"text/event-stream": object{"schema": d.schema(reflect.TypeOf(v))}}
	case nil:
		if status == 200 {
			kind := map[string]string{"/metrics": "text/plain", "/openapi.json": "application/json"}[rt.path]
			answer["content"] = object{kind: object{}}
		}
	default:
		answer["content"] = asJSON(d.schema(reflect.TypeOf(v)))
	}
	return answer
}

func (d *documented) schema(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{"type": "object", "additionalProperties": true}
	case t == reflect.TypeFor[struct{}]():
		return object{"type": "object"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		of := d.schema(t.Elem()).(object)
		if of["$ref"] != nil {
			return object{"allOf": []any{of}, "nullable": true}
		}
		of["nullable"] = true
		return of
	case reflect.Struct:
		if _, known := d.schemas[t.Name()]; !known {
			d.schemas[t.Name()] = nil // in work
			d.schemas[t.Name()] = d.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": true}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return object{"type": "integer"}
	}
	d.t.Fatalf("no schema for %v", t)
	return nil
}

func (d *documented) structure(t reflect.Type) object {
	properties, required := object{}, []any{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous:
				add(f.Type)
				continue
			case name == "-" || name == "" && !tagged && t == reflect.TypeFor[Event]():
				continue
			case name == "":
				d.t.Errorf("%v.%s has no name in JSON", t, f.Name)
			}
			s := d.schema(f.Type).(object)
			if text := d.comments[t.Name()+"."+f.Name]; text != "" && s["$ref"] == nil {
				s["description"] = text
			}
			properties[name] = s
			if !strings.Contains(options, "omit") {
				required = append(required, name)
			}
		}
	}
	add(t)
	s := object{"type": "object", "properties": properties}
	if t == reflect.TypeFor[Event]() {
		s["additionalProperties"] = true // the result of an operation, at its end
	}
	if text := d.comments[t.Name()]; text != "" {
		s["description"] = text
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// comments are those of the types and fields of the packages whose types are served.
func comments(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{"../run", "../state", "../repo", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range f.Decls {
				g, ok := decl.(*ast.GenDecl)
				if !ok || len(g.Specs) != 1 {
					continue
				}
				if spec, ok := g.Specs[0].(*ast.TypeSpec); ok {
					note(all, spec, g.Doc)
				}
			}
		}
	}
	return all
}

func note(all map[string]string, spec *ast.TypeSpec, doc *ast.CommentGroup) {
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	all[spec.Name.Name] = oneLine(doc.Text())
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			all[spec.Name.Name+"."+name.Name] = oneLine(f.Doc.Text() + f.Comment.Text())
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func plain(t *testing.T, v any) object {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func differ(t *testing.T, at string, have, want any) {
	t.Helper()
	h, ok1 := have.(object)
	w, ok2 := want.(object)
	if !ok1 || !ok2 {
		if !reflect.DeepEqual(have, want) {
			t.Errorf("openapi.json %s: has %v, the code has %v (go test ./core/api -run TestDocument -update)", at, have, want)
		}
		return
	}
	for key := range h {
		if _, ok := w[key]; !ok {
			t.Errorf("openapi.json has %s/%s, the code has not", at, key)
		}
	}
	for key := range w {
		if _, ok := h[key]; !ok {
			t.Errorf("the code has %s/%s, openapi.json has not", at, key)
			continue
		}
		differ(t, at+"/"+key, h[key], w[key])
	}
}

// TestEveryAnswer asks for every status of every route in the document, and holds what comes
// against its schema, in which no field more than named may be.
func TestEveryAnswer(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	no := false
	for name, s := range doc.Components.Schemas {
		if name != "Event" {
			s.Value.AdditionalProperties.Has = &no
		}
	}
	h := open(t, func(s *Server) { s.limits.heartbeat = time.Millisecond })
	bare := open(t, func(s *Server) { s.limits.connections, s.cfg.Metrics = 1, nil })
	h.tell(run.Event{Kind: run.KindEnd, ID: "one", Time: time.Now(), Operation: "backup", State: run.Complete, Result: struct {
		Bytes int `json:"bytes"`
	}{1}})
	for _, rt := range routes() {
		op := doc.Paths.Value(rt.path).GetOperation(rt.method)
		for text, answer := range op.Responses.Map() {
			t.Run(fmt.Sprint(rt.method, rt.path, text), func(t *testing.T) {
				status, _ := strconv.Atoi(text)
				if text == "default" {
					status = 500
				}
				if text == "429" || text == "default" && !slices.Contains([]string{"/status", "/backups", "/restores"}, rt.path) {
					return // the first has a test of its own; nothing else can fail by itself
				}
				at := h
				if text == "503" && rt.path == "/events" || text == "404" && rt.path == "/metrics" {
					at = bare
				}
				got, kind, body := provoke(t, at, rt, status)
				if got != status {
					t.Fatalf("got %d %s", got, body)
				}
				held(t, answer.Value, kind, body)
			})
		}
	}
}

// provoke makes a call that must get that status.
func provoke(t *testing.T, h *house, rt route, status int) (got int, kind string, answer []byte) {
	t.Helper()
	body := map[string]string{"/restores": `{"target":"scratch"}`, "/yield": `{"for":"1m"}`, "/schedule/pause": `{"until":null}`}[rt.path]
	r := h.request(Admin, rt.method, h.https+strings.Replace(rt.path, "{id}", "one", 1), body)
	h.fake.set(nil, false)
	h.fake.postpone = status == 202
	switch status {
	case 400:
		r.URL.RawQuery = "nonsense=1"
	case 401:
		r.Header.Del("Authorization")
	case 403:
		r.Header.Set("Origin", "https://evil.example.com")
	case 413:
		r = h.request(Admin, rt.method, r.URL.String(), strings.Repeat(" ", largestBody+1))
	case 415:
		r = h.request(Admin, rt.method, r.URL.String(), "{}")
		r.Header.Del("Content-Type")
	case 421:
		r.Host = "evil.example.com"
	case 404:
		h.fake.set(ErrUnknown, false)
	case 409:
		h.fake.set(errWith(code.Busy), false)
	case 422:
		h.fake.set(ErrReused, false)
		if rt.path == "/reload" {
			h.fake.set(errWith(code.Usage), false)
		}
	case 500:
		h.fake.set(nil, true)
	case 503:
		h.fake.set(context.DeadlineExceeded, false)
	}
	res, err := h.net.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if rt.path == "/events" && status == 200 { // it has no end
		return res.StatusCode, res.Header.Get("Content-Type"), nil
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), b.Bytes()
}

func (f *fake) set(err error, panics bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.panics = err, panics
}

// held holds a body against what the document says of it.
func held(t *testing.T, answer *openapi3.Response, kind string, body []byte) {
	t.Helper()
	if len(answer.Content) == 0 {
		if len(body) > 0 {
			t.Errorf("got a body, want none: %s", body)
		}
		return
	}
	kind, _, _ = strings.Cut(kind, ";")
	media := answer.Content[kind]
	if media == nil {
		t.Fatalf("the answer is %q, the document does not say so", kind)
	}
	if kind == "text/event-stream" {
		_, data, found := bytes.Cut(body, []byte("\ndata: "))
		if !found {
			return
		}
		body, _, _ = bytes.Cut(data, []byte("\n"))
	}
	if media.Schema == nil {
		return
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
		t.Errorf("%s: %v", body, err)
	}
}
