package undo

import (
	"bytes"
	"os"
	"testing"
)

// A page of 9.7.4 after XA START 'one','b',7 ... XA PREPARE, and a restart.
func sample(t testing.TB) []byte {
	p, err := os.ReadFile("testdata/prepared.page")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrepared(t *testing.T) {
	p := sample(t)
	x, ok := Prepared(p)
	if want := (XID{7, "one", "b"}); !ok || x != want || x.SQL() != "X'6f6e65',X'62',7" {
		t.Errorf("got %+v, %v, want %+v", x, ok, want)
	}
	for name, at := range map[string]int{"another state": offState + 1, "another kind of page": 25, "another place": offLast + 1, "another space's": offSegment, "a long name": offLogs + offXA + 6} {
		bad := bytes.Clone(p)
		bad[at] ^= 0x41
		if x, ok := Prepared(bad); ok {
			t.Errorf("%s: got %+v", name, x)
		}
	}
}

func FuzzPrepared(f *testing.F) {
	p := sample(f)
	f.Add(p[:200], uint16(7), uint16(86))
	f.Fuzz(func(t *testing.T, b []byte, state, last uint16) {
		if len(b) > offLast+2 {
			b[offState], b[offState+1] = byte(state>>8), byte(state)
			b[offLast], b[offLast+1] = byte(last>>8), byte(last)
		}
		if x, ok := Prepared(b); ok && (len(x.Global) > maxPart || len(x.Branch) > maxPart) {
			t.Errorf("got %+v", x)
		}
	})
}
