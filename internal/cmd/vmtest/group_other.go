//go:build !unix

package main

import "os/exec"

// inGroup leaves cmd as it is.
func inGroup(*exec.Cmd) {}
