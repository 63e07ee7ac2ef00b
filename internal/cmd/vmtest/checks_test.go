package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
)

func TestAFailedCheckIsAFailureWithItsOutput(t *testing.T) {
	tests := []struct {
		name, check, script string
		failed              int
	}{
		{"a quiet success", "go vet", "true", 0},
		{"a success that says something", "go.mod is tidy", "echo go: downloading", 0},
		{"a failure", "go vet", "echo the reason; exit 1", 1},
		{"gofumpt tells by its output", "gofumpt", "echo the reason", 1},
		{"gofumpt without output", "gofumpt", "true", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			s := &session{report: newReport(&out, false)}
			ok := s.check(t.Context(), tt.check, exec.Command("sh", "-c", tt.script))
			if _, failed, _ := s.totals(); failed != tt.failed || ok != (tt.failed == 0) {
				t.Errorf("%d failed, ok is %v", failed, ok)
			}
			if strings.Contains(out.String(), "the reason") != (tt.failed == 1) {
				t.Errorf("the report is %q", &out)
			}
		})
	}
}

func TestAnInterruptedCheckIsNotRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &session{report: newReport(new(bytes.Buffer), false)}
	if s.check(ctx, "go vet", exec.Command("false")) || len(s.failures) > 0 {
		t.Errorf("the failures are %q", s.failures)
	}
}
