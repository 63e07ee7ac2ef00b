//go:build race

package nat

// raceDetector makes everything ten times slower.
const raceDetector = true
