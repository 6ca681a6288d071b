package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

const (
	largestBody = 1 << 20
	deepest     = 8 // brackets of a body within each other
)

var (
	errTooLarge = fail(http.StatusRequestEntityTooLarge, code.Usage, "the body has more than %d bytes", largestBody)
	errNoJSON   = failure{http.StatusUnsupportedMediaType, code.Hint(code.Usage, "send Content-Type: application/json", "the body is not said to be JSON")}
)

// body reads all of a body; nil is none.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > largestBody {
		return nil, errTooLarge
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil:
		return nil, bad("", "read the body: %w", err)
	case len(text) == 0:
		return nil, nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, errNoJSON
	}
	return text, nil
}

// decode fills the struct that into points to from one JSON object and nothing else. It takes
// each name once, and as it is written: what two readers could understand in two ways is
// refused. No body is an empty object.
func decode(text []byte, into any) error {
	if text == nil {
		text = []byte("{}")
	}
	given, err := walk(text)
	if err != nil {
		return bad("", "the body: %w", err)
	}
	known := fieldNames(reflect.TypeOf(into).Elem())
	for i, name := range given {
		switch {
		case !slices.Contains(known, name):
			return bad("known here: "+strings.Join(known, ", "), "the body: unknown field %.40q", name)
		case slices.Contains(given[:i], name):
			return bad("", "the body: %s is there twice", name)
		}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return bad("", "the body: %s: want %v, have a %s", kind.Field, kind.Type, kind.Value)
		}
		return bad("", "the body: %w", err)
	}
	return nil
}

// walk returns the names of the outermost object, in order, once all of the text was seen to
// be that object, not too deep.
func walk(text []byte) (names []string, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	depth, name := 0, false
	for first := true; ; first = false {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && !first && depth == 0 {
			return names, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if !first && depth == 0 {
			return nil, errors.New("something follows the object")
		}
		if first && t != json.Delim('{') {
			return nil, errors.New("want an object")
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > deepest {
				return nil, fmt.Errorf("more than %d brackets within each other", deepest)
			}
			name = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			name = depth == 1
			continue
		}
		if depth != 1 {
			continue
		}
		if name {
			names = append(names, t.(string))
		}
		name = !name
	}
}

func fieldNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
