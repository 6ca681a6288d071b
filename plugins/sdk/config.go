package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/remora-backup/remora/core/nearest"
	"github.com/remora-backup/remora/core/plug"
)

// Server is how to reach the MySQL server, as lock plugins are told.
type Server struct {
	Socket   string `json:"socket,omitempty"`
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	User     string `json:"user"`
	Password string `json:"password,omitempty"`
	TLS      string `json:"tls,omitempty"` // "", "off", "skip-verify" or "verify"
}

// Decode reads a plugin's configuration into the struct that into points to. A key that
// the struct does not have, or a value of the wrong type, is a plug.ErrInvalid that
// names the key and the nearest one there is.
func Decode(config json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("more than one JSON value")
	}
	if key, ok := unknownKey(err); ok {
		text := fmt.Sprintf("unknown key %q", key)
		if near := nearest.Word(key, keysOf(reflect.TypeOf(into))); near != "" {
			text += fmt.Sprintf(", did you mean %q?", near)
		}
		return fmt.Errorf("%s: %w", text, plug.ErrInvalid)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("key %q cannot be a %s, it is a %s: %w", wrong.Field, wrong.Value, wrong.Type, plug.ErrInvalid)
	}
	return fmt.Errorf("read configuration: %v: %w", err, plug.ErrInvalid)
}

// unknownKey finds the key in encoding/json's only error that has no type of its own.
func unknownKey(err error) (string, bool) {
	_, rest, ok := strings.Cut(err.Error(), `unknown field "`)
	return strings.TrimSuffix(rest, `"`), ok
}

// keysOf lists the JSON keys of a struct and the structs in it.
func keysOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "-" || !f.IsExported() {
			continue
		}
		if key == "" {
			key = f.Name
		}
		keys = append(keys, key)
		keys = append(keys, keysOf(f.Type)...)
	}
	return keys
}
