//go:build race

package vrrp

// raceDetector makes everything ten times slower.
const raceDetector = true
