package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lvskit/lvskit/examples/internal/director"
)

// tempPrefix begins the name of the folder that a run works in.
const tempPrefix = "lvskit-quickstart-"

// footprint is what was on the machine before the run, in words.
type footprint struct {
	kernel  bool // its IPVS is used, and looked at
	things  things
	modules things // of the kernel
}

// things are what can be left behind, each with what more is known of it.
type things map[string]string

// lookAround takes down what is there.
func lookAround(ctx context.Context, plane dataplane) (footprint, error) {
	markChildren()
	kernel := plane.name == director.Kernel
	found, err := find(ctx, kernel)
	return footprint{kernel, found, modules()}, err
}

// left is what is there now and was not before. Threads end and the kernel takes
// some of it away a moment after they were told to.
func (f footprint) left() ([]string, error) {
	for deadline := time.Now().Add(patience / 2); ; time.Sleep(20 * time.Millisecond) {
		now, err := find(context.Background(), f.kernel)
		left := since(f.things, now)
		if err != nil || len(left) == 0 || time.Now().After(deadline) {
			return left, err
		}
	}
}

// loaded are the modules that the kernel has loaded during the run, and keeps.
func (f footprint) loaded() []string { return since(f.modules, modules()) }

// since is what is in now and was not before, in order and never nil.
func since(before, now things) []string {
	left := []string{}
	for thing, more := range now {
		if _, ok := before[thing]; !ok {
			left = append(left, strings.TrimSpace(thing+" "+more))
		}
	}
	slices.Sort(left)
	return left
}

func leftInWords(left []string, dataplane string) string {
	switch {
	case len(left) > 0:
		return strings.Join(left, ", ") + "."
	case dataplane == director.Kernel:
		return "nothing: no network namespace, process, interface, IPVS service or file is there that was not there before."
	}
	return "nothing: no network namespace, process, interface or file is there that was not there before."
}
