package repo

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"lukechampine.com/blake3"

	"github.com/remora-backup/remora/core/code"
)

// A sealed document is indented JSON whose last line before the closing brace is
//
//	  "digest": "<BLAKE3-256 of all bytes before this line, hex>"
//
// This holds for every format version, so that damage is told from a newer format.

const (
	// Format is the version of everything this package writes.
	Format = 1

	maxSealed = 64 << 20 // bytes of a sealed document
	digestKey = "  \"digest\": \""
)

// encodeSealed returns the bytes of v, whose last JSON field is named digest and is a
// string, with its digest filled in.
func encodeSealed(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	at := bytes.LastIndex(b, []byte("\n"+digestKey))
	if at < 0 {
		return nil, errors.New("document has no digest")
	}
	b = append(b[:at+1], sealOf(b[:at+1])...)
	if len(b) > maxSealed {
		return nil, fmt.Errorf("document of %d bytes is over the limit of %d", len(b), maxSealed)
	}
	return b, nil
}

func sealOf(body []byte) string {
	sum := blake3.Sum256(body)
	return digestKey + hex.EncodeToString(sum[:]) + "\"\n}\n"
}

// decodeSealed fills v from the bytes of the object called name: damage of any byte is
// code.Integrity, a format newer than ours code.Version.
func decodeSealed(name string, b []byte, v any) error {
	at := len(b) - len(sealOf(nil))
	if at < 0 || sealOf(b[:at]) != string(b[at:]) {
		return damaged(name, "its digest does not fit its bytes")
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return damaged(name, "decode: %w", err)
	}
	if head.Format > Format {
		return code.Hint(code.Version, "use the version of remora that wrote it, or a newer one",
			"read %s: its format is %d, this remora knows up to %d", name, head.Format, Format)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return damaged(name, "decode: %w", err)
	}
	if again, err := encodeSealed(v); err != nil || !bytes.Equal(again, b) || head.Format < 1 {
		return damaged(name, "it is not as remora writes it")
	}
	return nil
}

// readAll reads an object of at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}

var errTooLarge = errors.New("larger than it can be")
