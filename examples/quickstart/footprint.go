package main

import (
	"context"
	"slices"
	"strings"
	"time"
)

// tempPrefix begins the name of the folder that a run works in.
const tempPrefix = "lvskit-quickstart-"

// footprint is what was on the machine before the run, in words.
type footprint struct {
	things  []string
	modules []string // of the kernel
}

// lookAround takes down what is there.
func lookAround(ctx context.Context) (footprint, error) {
	markChildren()
	things, err := things(ctx)
	return footprint{things, modules()}, err
}

// left is what is there now and was not before. The kernel takes some of it away
// a moment after it was told to.
func (f footprint) left() ([]string, error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		now, err := things(context.Background())
		left := since(f.things, now)
		if err != nil || len(left) == 0 || time.Now().After(deadline) {
			return left, err
		}
	}
}

// loaded are the modules that the kernel has loaded during the run, and keeps.
func (f footprint) loaded() []string { return since(f.modules, modules()) }

// since is what is in now and was not before, never nil.
func since(before, now []string) []string {
	left := []string{}
	for _, thing := range now {
		if !slices.Contains(before, thing) {
			left = append(left, thing)
		}
	}
	slices.Sort(left)
	return slices.Compact(left)
}

func leftInWords(left []string) string {
	if len(left) == 0 {
		return "nothing: no network namespace, process, interface, IPVS service or file is there that was not there before."
	}
	return strings.Join(left, ", ") + "."
}
