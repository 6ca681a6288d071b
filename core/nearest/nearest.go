// Package nearest finds the known word that a mistyped one was meant to be.
package nearest

// Word returns the known word that is at most a third of the letters away, or "".
func Word(typed string, known []string) string {
	best, least := "", max(len(typed)/3, 1)+1
	for _, k := range known {
		if d := distance(typed, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the edits of one letter between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, diagonal+1, change)
		}
	}
	return row[len(b)]
}
