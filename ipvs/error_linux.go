package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// refusal is a kernel's error in words. It matches kind, and the error number
// itself.
type refusal struct {
	text  string
	kind  error
	errno unix.Errno
}

func (e *refusal) Error() string {
	if name := unix.ErrnoName(e.errno); name != "" {
		return e.text + " (" + name + ")"
	}
	return fmt.Sprintf("%s (error %d)", e.text, int(e.errno))
}

func (e *refusal) Unwrap() error        { return e.kind }
func (e *refusal) Is(target error) bool { return target == e.errno }

// opError puts an error of an exchange into words. s is the service that it was
// about, if any.
func opError(op, object string, err error, s *Service) error {
	if err == nil {
		return nil
	}
	if k, ok := errors.AsType[kernelErrno](err); ok {
		err = explain(k, s)
	}
	return &OpError{Op: op, Object: object, Err: err}
}

// isDestination tells the commands that name a destination.
func (c command) isDestination() bool { return c >= cmdNewDest && c <= cmdDelDest }

func (c command) isDaemon() bool { return c == cmdNewDaemon || c == cmdDelDaemon }

// explain says what an error number means for a command
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_set_cmd and what it calls).
func explain(k kernelErrno, s *Service) error {
	say := func(kind error, format string, args ...any) error {
		return &refusal{text: fmt.Sprintf(format, args...), kind: kind, errno: k.errno}
	}
	switch {
	case k.cmd.isDaemon():
		return explainDaemon(k, say)
	case k.errno == unix.ESRCH:
		return say(fs.ErrNotExist, "there is no such service")
	case k.errno == unix.ENOENT && k.cmd.isDestination():
		return say(fs.ErrNotExist, "the service has no such destination")
	case k.errno == unix.ENOENT && s != nil:
		return explainMissing(s, say)
	case k.errno == unix.EEXIST && k.cmd.isDestination():
		return say(fs.ErrExist, "the service has that destination already")
	case k.errno == unix.EEXIST:
		return say(fs.ErrExist, "there is such a service already")
	case k.errno == unix.ERANGE:
		return say(fs.ErrInvalid, "the weight is below 0, or the lower threshold is above the upper")
	case k.errno == unix.EINVAL && k.cmd.isDestination():
		return say(fs.ErrInvalid, "the kernel takes no such destination: its address may be no unicast address, "+
			"lo of the network namespace may never have been up, or its family differs from the service's "+
			"while it is not tunnelled or a sync daemon runs")
	case k.errno == unix.EINVAL:
		return say(fs.ErrInvalid, "the kernel takes no such values")
	}
	return explainAny(k.errno, say)
}

// explainMissing tells a missing scheduler from a missing engine. The kernel
// looks for the scheduler first, and a module that it found is to be seen.
func explainMissing(s *Service, say func(error, string, ...any) error) error {
	const scheduler = "the kernel has no scheduler %q: modprobe ip_vs_%[1]s, or use another"
	const engine = "the kernel has no persistence engine %q: modprobe ip_vs_pe_%[1]s, or use none"
	switch {
	case s.Persistence.Engine == "" || isLoaded("ip_vs_pe_"+s.Persistence.Engine):
		return say(ErrNoScheduler, scheduler, s.Scheduler)
	case s.Scheduler == NoScheduler || isLoaded("ip_vs_"+string(s.Scheduler)):
		return say(ErrNoEngine, engine, s.Persistence.Engine)
	}
	return say(errors.Join(ErrNoScheduler, ErrNoEngine),
		"the kernel has no scheduler %q or no persistence engine %q", s.Scheduler, s.Persistence.Engine)
}

func isLoaded(module string) bool {
	_, err := os.Stat("/sys/module/" + module)
	return err == nil
}

func explainDaemon(k kernelErrno, say func(error, string, ...any) error) error {
	switch k.errno {
	case unix.ESRCH:
		return say(fs.ErrNotExist, "no such sync daemon runs")
	case unix.EEXIST:
		return say(fs.ErrExist, "a sync daemon of that state runs already")
	case unix.ENODEV:
		return say(fs.ErrNotExist, "there is no such interface")
	case unix.EADDRNOTAVAIL:
		return say(fs.ErrInvalid, "the interface has no address of the group's family")
	case unix.EINVAL:
		return say(fs.ErrInvalid, "the kernel takes no such sync daemon: a service has a destination of another family, "+
			"the interface can not do multicast, or the message length does not fit its MTU")
	}
	return explainAny(k.errno, say)
}

// explainAny says what an error number means for every command.
func explainAny(errno unix.Errno, say func(error, string, ...any) error) error {
	switch errno {
	case unix.EPERM:
		return say(fs.ErrPermission, "IPVS takes CAP_NET_ADMIN in the initial user namespace: run as root outside of user namespaces")
	case unix.EAFNOSUPPORT:
		return say(errors.ErrUnsupported, "the kernel has no IPv6: it was built without, or started with ipv6.disable=1")
	case unix.EOPNOTSUPP:
		return say(errors.ErrUnsupported, "the kernel is too old for this")
	case unix.ENOMEM:
		return say(errno, "the kernel has no memory for this")
	}
	return say(errno, "the kernel refuses: %s", errno.Error())
}
