package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFault(t *testing.T) {
	tests := []struct {
		err error
		own bool
	}{
		{unix.EMFILE, true},
		{unix.ENFILE, true},
		{unix.ENOBUFS, true},
		{unix.ENOMEM, true},
		{unix.EAGAIN, true},
		{unix.EADDRNOTAVAIL, true},
		{unix.EADDRINUSE, true},
		{unix.EPERM, true},
		{unix.EAFNOSUPPORT, true},
		{unix.EPROTONOSUPPORT, true},
		{unix.EINVAL, true},
		{unix.EBADF, true},
		{unix.ENODEV, true},
		{unix.ENOSYS, true},
		{os.NewSyscallError("socket", unix.EACCES), true},
		{os.NewSyscallError("bind", unix.EACCES), true},
		{os.NewSyscallError("setsockopt", unix.EOPNOTSUPP), true},
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", unix.EADDRNOTAVAIL)}, true},
		{fmt.Errorf("deep: %w", fmt.Errorf("deeper: %w", unix.EMFILE)), true},
		{context.Canceled, true},
		{errors.ErrUnsupported, true},
		{fs.ErrInvalid, true},

		{unix.ECONNREFUSED, false},
		{unix.ECONNRESET, false},
		{unix.ECONNABORTED, false},
		{unix.EPIPE, false},
		{unix.ETIMEDOUT, false},
		{unix.ENETUNREACH, false},
		{unix.EHOSTUNREACH, false},
		{unix.ENETDOWN, false},
		{unix.EHOSTDOWN, false},
		{unix.EACCES, false},
		{unix.EPROTO, false},
		{unix.ENOPROTOOPT, false},
		{unix.EMSGSIZE, false},
		{os.NewSyscallError("connect", unix.EACCES), false},
		{&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", unix.ECONNRESET)}, false},
		{context.DeadlineExceeded, false},
		{os.ErrDeadlineExceeded, false},
		{io.EOF, false},
		{errTimeout, false},
		{errClosed, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%T %v", tt.err, tt.err), func(t *testing.T) {
			got := fault(tt.err)
			if errors.Is(got, ErrInconclusive) != tt.own {
				t.Errorf("got %v; inconclusive should be %t", got, tt.own)
			}
			if again := fault(got); again != got {
				t.Errorf("a second time it is %v", again)
			}
			var errno unix.Errno
			if errors.As(tt.err, &errno) && !errors.Is(got, errno) {
				t.Errorf("%v has lost its errno", got)
			}
			if strings.Contains(got.Error(), "dial tcp") {
				t.Errorf("%v repeats what an OpError says", got)
			}
		})
	}
	if fault(nil) != nil {
		t.Error("nil is no fault")
	}
}

func init() { children["no descriptors"] = withoutDescriptors }

// withoutDescriptors probes a server that lives with no descriptor left, and then
// again with some.
func withoutDescriptors() {
	addr := netip.MustParseAddrPort(os.Args[1])
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := (TCP{Addr: addr}).Probe(ctx); err != nil { // the poller has its descriptors
		fmt.Println("before:", err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Println(err)
	}
	few := limit
	few.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		fmt.Println(err)
	}
	_, err := TCP{Addr: addr}.Probe(ctx)
	fmt.Printf("inconclusive %t, EMFILE %t: %v\n", errors.Is(err, ErrInconclusive), errors.Is(err, unix.EMFILE), err)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Println(err)
	}
	_, err = TCP{Addr: addr}.Probe(ctx)
	fmt.Println("after:", err)
}

func TestNoDescriptorsIsInconclusive(t *testing.T) {
	addr := serve(t, hold)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", addr.String())
	cmd.Env = append(os.Environ(), childEnv+"=no descriptors")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "inconclusive true, EMFILE true: health: connect " + addr.String() + ": inconclusive: socket: too many open files\nafter: <nil>\n"
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
