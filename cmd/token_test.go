package cmd

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/remora-backup/remora/core/code"
)

// What token prints to paste is TOML, and lets the token in that it prints.
func TestToken(t *testing.T) {
	h := newHome(t, "")
	if got := h.run(t, "token", "anna", "--role", "operate"); got != 0 {
		t.Fatalf("got %d: %s", got, h.err)
	}
	token, paste, found := strings.Cut(h.out.String(), "[[serve.token]]")
	if !found {
		t.Fatalf("got %s", h.out)
	}
	var conf struct {
		Serve struct {
			Token []map[string]string `toml:"token"`
		} `toml:"serve"`
	}
	if _, err := toml.Decode("[[serve.token]]"+paste, &conf); err != nil {
		t.Fatal(err)
	}
	token = strings.Split(token, "\n\n")[1]
	sum := sha256.Sum256([]byte(token))
	got := conf.Serve.Token[0]
	if got["name"] != "anna" || got["role"] != "operate" || got["sha256"] != hex.EncodeToString(sum[:]) || len(got) != 3 {
		t.Errorf("token %s: got %v", token, got)
	}
	if secret, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(secret) != 32 {
		t.Errorf("token %q has %d bytes (%v), want 32", token, len(secret), err)
	}
	var m made
	if got := h.run(t, "token", "anna", "--json"); got != 0 {
		t.Fatalf("got %d: %s", got, h.err)
	}
	if err := json.Unmarshal([]byte(h.out.String()), &m); err != nil || m.Token == token || m.Role != "read" {
		t.Errorf("got %+v (%v), want another token, of a reader", m, err)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"a b"}, {"anna\n"}, {`a"b`}, {"anna", "--role", "king"}, {"anna", "--role", "nobody"}} {
		if got := h.run(t, append([]string{"token"}, args...)...); got != int(code.Usage) || h.out.String() != "" {
			t.Errorf("token %q: got %d %s", args, got, h.out)
		}
	}
}
