//go:build !linux

package sysctl

import (
	"context"
	"errors"
)

func unsupported(op string) error { return &OpError{Op: op, Err: errors.ErrUnsupported} }

// Read answers errors.ErrUnsupported outside Linux.
func (c *Client) Read(context.Context, ...Key) (Values, error) { return nil, unsupported("read") }

// ReadInterfaces answers errors.ErrUnsupported outside Linux.
func (c *Client) ReadInterfaces(context.Context, string) (Values, error) {
	return nil, unsupported("read")
}

// Plan answers errors.ErrUnsupported outside Linux.
func (c *Client) Plan(context.Context, []Setting) ([]Change, error) { return nil, unsupported("plan") }

// Apply answers errors.ErrUnsupported outside Linux.
func (c *Client) Apply(context.Context, []Setting) ([]Change, error) {
	return nil, unsupported("apply")
}

// Check answers errors.ErrUnsupported outside Linux.
func (c *Client) Check(context.Context, []Setting) ([]Finding, error) {
	return nil, unsupported("check")
}

// Recorded answers errors.ErrUnsupported outside Linux.
func (c *Client) Recorded(context.Context) ([]Change, error) { return nil, unsupported("read record") }

// Restore answers errors.ErrUnsupported outside Linux.
func (c *Client) Restore(context.Context, []Change) (restored, left []Change, err error) {
	return nil, nil, unsupported("restore")
}
