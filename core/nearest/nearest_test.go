package nearest

import "testing"

func TestWord(t *testing.T) {
	known := []string{"on_phase", "on_progress", "copy.extent", "copy.open"}
	for typed, want := range map[string]string{
		"on_phsae": "on_phase", "on_pase": "on_phase", "copy.extnet": "copy.extent", "lunch": "", "": "", "on_progres": "on_progress",
	} {
		if got := Word(typed, known); got != want {
			t.Errorf("Word(%q) = %q, want %q", typed, got, want)
		}
	}
}
