//go:build race

package stop

const (
	raceDetector = true
	// atOnce is so much because each process with the race detector sleeps for a second at its end.
	atOnce = 6
)
