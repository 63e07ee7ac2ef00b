package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/ipvs"
)

// kernel is the dataplane that forwards the connections: IPVS.
const kernel = "kernel"

// available is the dataplane that this machine can have, or all that it lacks.
func available(ctx context.Context) (dataplane string, err error) {
	var lacks []string
	if l, err := lab.New(lab.Config{}); err != nil {
		lacks = append(lacks, fmt.Sprintf("the rights to make networks of its own (%v)", err))
	} else if err := l.Close(); err != nil {
		return "", err
	}
	if err := answers(ctx); err != nil {
		lacks = append(lacks, fmt.Sprintf("IPVS (%v)", err))
	}
	if len(lacks) > 0 {
		return "", errors.New(lackingInWords(lacks))
	}
	return kernel, nil
}

// answers asks the kernel for IPVS.
func answers(ctx context.Context) error {
	table, err := ipvs.Open(ipvs.Config{})
	if err != nil {
		return err
	}
	defer table.Close()
	_, err = table.Info(ctx)
	return err
}

func lackingInWords(lacks []string) string {
	return `it needs root and a kernel with ip_vs. Here it lacks
  - ` + strings.Join(lacks, "\n  - ") + `

To see it all the same, run it in a machine of its own, which is emulated and has both:

  go run ./internal/cmd/vmtest -exec quickstart

or, for a prompt in there where you can say quickstart -hold:

  go run ./internal/cmd/vmtest -shell
`
}
