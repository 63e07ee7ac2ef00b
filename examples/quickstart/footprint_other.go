//go:build !linux

package main

import (
	"context"
	"errors"
)

func markChildren() {}

func find(context.Context, bool) (things, error) { return nil, errors.ErrUnsupported }

func modules() things { return nil }
