//go:build !linux

package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
)

// Outside Linux New and Enter answer errors.ErrUnsupported; the types are
// there so that what uses a lab builds.
type (
	Lab     struct{}
	Switch  struct{}
	Host    struct{}
	Link    struct{}
	Task    struct{}
	Process struct{}
	Capture struct{}
)

func Enter() error                                       { return errors.ErrUnsupported }
func New(Config) (*Lab, error)                           { return nil, errors.ErrUnsupported }
func (*Lab) Close() error                                { return nil }
func (*Lab) Host(string) (*Host, error)                  { return nil, errors.ErrUnsupported }
func (*Lab) Switch(string) (*Switch, error)              { return nil, errors.ErrUnsupported }
func (*Lab) Processes() []*Process                       { return nil }
func (*Switch) Name() string                             { return "" }
func (*Host) Name() string                               { return "" }
func (*Host) Path() string                               { return "" }
func (*Host) Connect(*Switch, LinkConfig) (*Link, error) { return nil, errors.ErrUnsupported }
func (*Host) Do(func() error) error                      { return errors.ErrUnsupported }
func (*Host) Go(func(context.Context) error) *Task       { return &Task{} }
func (*Host) Route(netip.Prefix, netip.Addr) error       { return errors.ErrUnsupported }
func (*Host) Forward() error                             { return errors.ErrUnsupported }
func (*Host) Start(string, ...string) (*Process, error)  { return nil, errors.ErrUnsupported }
func (*Host) Run(context.Context, string, ...string) (string, error) {
	return "", errors.ErrUnsupported
}
func (*Host) Listen(string, string) (net.Listener, error) { return nil, errors.ErrUnsupported }
func (*Host) ListenPacket(string, string) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

func (*Host) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}
func (*Link) Name() string                                { return "" }
func (*Link) Index() int                                  { return 0 }
func (*Link) MAC() net.HardwareAddr                       { return nil }
func (*Link) Up() error                                   { return errors.ErrUnsupported }
func (*Link) Down() error                                 { return errors.ErrUnsupported }
func (*Task) Stop() error                                 { return errors.ErrUnsupported }
func (*Task) Wait(context.Context) error                  { return errors.ErrUnsupported }
func (*Process) Host() *Host                              { return nil }
func (*Process) String() string                           { return "" }
func (*Process) Pid() int                                 { return 0 }
func (*Process) Signal(os.Signal) error                   { return errors.ErrUnsupported }
func (*Process) Kill() error                              { return errors.ErrUnsupported }
func (*Process) Wait(context.Context) error               { return errors.ErrUnsupported }
func (*Process) Output() string                           { return "" }
func (*Process) WaitOutput(context.Context, string) error { return errors.ErrUnsupported }

func (*Link) Impair(Impairment) error                     { return errors.ErrUnsupported }
func (*Link) Capture(func([]byte) bool) (*Capture, error) { return nil, errors.ErrUnsupported }
func (*Capture) Frames() []Frame                          { return nil }
func (*Capture) Next(context.Context) (Frame, error)      { return Frame{}, errors.ErrUnsupported }
func (*Capture) Lost() int                                { return 0 }
func (*Capture) Close() error                             { return nil }
