//go:build !linux

package main

import (
	"context"
	"errors"
)

func markChildren() {}

func things(context.Context) ([]string, error) { return nil, errors.ErrUnsupported }

func modules() []string { return nil }
