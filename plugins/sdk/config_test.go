package sdk

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/plug"
)

func TestDecode(t *testing.T) {
	type inner struct {
		Region string `json:"region"`
	}
	type settings struct {
		Path  string `json:"path"`
		Inner inner  `json:"inner"`
		Count int
	}
	var got settings
	if err := Decode(json.RawMessage(`{"path":"/x","inner":{"region":"eu"},"Count":3}`), &got); err != nil {
		t.Fatal(err)
	}
	if want := (settings{"/x", inner{"eu"}, 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for config, want := range map[string]string{
		`{"pathh":"/x"}`:            `unknown key "pathh", did you mean "path"?`,
		`{"inner":{"regoin":"eu"}}`: `unknown key "regoin", did you mean "region"?`,
		`{"wholly_other":1}`:        `unknown key "wholly_other": `,
		`{"path":7}`:                `key "path" cannot be a number`,
		`{"inner":{"region":[]}}`:   `key "inner.region" cannot be a array`,
		`{"path":"/x"`:              "unexpected EOF",
		`{} {}`:                     "more than one JSON value",
		``:                          "EOF",
	} {
		err := Decode(json.RawMessage(config), &settings{})
		if !errors.Is(err, plug.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want ErrInvalid with %q", config, err, want)
		}
	}
}
