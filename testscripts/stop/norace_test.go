//go:build !race

package stop

const (
	raceDetector = false
	atOnce       = 3
)
