package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/lvskit/lvskit/nat"
)

// readRules reads a file of rules, one a line. Lines that begin with # are comments.
// All that is wrong in it is in the error.
func readRules(path string) (rules []nat.Rule, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var errs []error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := nat.ParseRule(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, number, err))
		}
		rules = append(rules, r)
	}
	return rules, errors.Join(errs...)
}

// read is all rules that are wanted now.
func (c config) read() (rules []nat.Rule, err error) {
	if c.file != "" {
		if rules, err = readRules(c.file); err != nil {
			return nil, err
		}
	}
	return c.rules(rules)
}
