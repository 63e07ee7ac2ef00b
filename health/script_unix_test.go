//go:build unix

package health

import (
	"context"
	"fmt"
)

// A script of keepalived's misc_dynamic says what it wants its weight to be.
func ExampleScript() {
	report, err := Script{Path: "sh", Args: []string{"-c", "exit 12"}, Dynamic: true}.Probe(context.Background())
	fmt.Println(report.Weight.Op == SetWeight, report.Weight.N, err)

	_, err = Script{Path: "sh", Args: []string{"-c", "echo the disk is full; exit 3"}}.Probe(context.Background())
	fmt.Println(err)
	// Output:
	// true 10 <nil>
	// health: run sh: exit status 3: it says "the disk is full"
}
