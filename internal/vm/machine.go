package vm

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

//go:embed start.sh
var startScript []byte

// Where the shared folders are inside.
const (
	GuestIn  = "/run/lvskit/in"  // Machine.In, read-only
	GuestOut = "/run/lvskit/out" // Machine.Out
)

// A Machine is what Run boots.
type Machine struct {
	Kernel Kernel
	Script string // for sh, run as root; the machine ends with it
	In     string // a folder to read from inside, at GuestIn; machines can share it
	Out    string // a folder to write to from inside, at GuestOut, with files of Run; what is there is ahead of the console
	Source string // a folder to have inside even if it is below /tmp or /run, which are the machine's own

	CPUs        int  // 0 is 2
	Memory      int  // in MiB; 0 is 4096
	KVM         bool // use /dev/kvm instead of emulating the processor
	Parallel    bool // emulate each processor by a thread of its own; see accelerator
	Interactive bool // the console is this program's standard input and output
	Limits      Limits
	QEMU        string // the program; "" is qemu-system-x86_64
}

// Limits are how long a machine may take; it is killed when one is exceeded.
// Zero is the default.
type Limits struct {
	Boot    time.Duration // until the script starts: 3 minutes
	Silence time.Duration // between two signs of life, of which it gives one in 5 s: 2 minutes
	Total   time.Duration // from beginning to end: 25 minutes; an interactive machine has none
	Halt    time.Duration // from the script's end to the machine's: 30 seconds
}

// A Failure is a machine that did not reach the end of its script.
type Failure struct {
	Why     string
	Console string // the last of it
}

func (f *Failure) Error() string {
	return f.Why + "; the last of its console:\n" + f.Console
}

// Run boots the machine and returns when it is off: nil if its script has run
// to the end (whatever its exit status), a *Failure if the machine died, hung
// or exceeded a limit. Nothing of the machine is left when Run returns.
func (m Machine) Run(ctx context.Context) error {
	m.defaults()
	if err := m.share(); err != nil {
		return err
	}
	alive, kill := context.WithCancel(ctx)
	defer kill()
	out := new(console)
	cmd := exec.CommandContext(alive, m.QEMU, m.args()...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // QEMU gives the terminal back
	cmd.WaitDelay = 5 * time.Second
	if m.Interactive {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	ended := make(chan error, 1)
	go func() { ended <- runWithParent(cmd) }()
	w := watch{Limits: m.Limits, dir: m.Out, ended: ended, start: time.Now()}
	why := w.wait(ctx)
	if !w.over {
		kill()
		<-ended
	}
	switch {
	case errors.Is(why, exec.ErrNotFound):
		return fmt.Errorf("%w: install qemu-system-x86", why)
	case why == nil || ctx.Err() != nil:
		return why
	}
	return &Failure{Why: why.Error(), Console: out.Tail(60)}
}

func (m *Machine) defaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&m.Limits.Boot, 3*time.Minute)
	set(&m.Limits.Silence, 2*time.Minute)
	set(&m.Limits.Halt, 30*time.Second)
	set(&m.Limits.Total, 25*time.Minute)
	if m.Interactive {
		m.Limits.Total = 0
	}
	if m.CPUs == 0 {
		m.CPUs = 2
	}
	if m.Memory == 0 {
		m.Memory = 4096
	}
	if m.QEMU == "" {
		m.QEMU = "qemu-system-x86_64"
	}
}

// share writes the files that the machine starts from.
func (m *Machine) share() error {
	for name, data := range map[string]string{
		"start": string(startScript), "script": m.Script, "source": m.Source + "\n",
	} {
		if err := os.WriteFile(filepath.Join(m.Out, name), []byte(data), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// accelerator emulates both processors by turns of one thread, unless asked for
// more speed. With a thread each, QEMU can keep a translation of code that the
// kernel is just patching (static keys, as of a packet socket): the processor
// then meets a breakpoint that is no more, and the kernel dies with "Oops: int3".
func (m Machine) accelerator() string {
	if m.Parallel {
		return "tcg,thread=multi"
	}
	return "tcg,thread=single"
}

// emulatedCPU has all that QEMU can do but cmpxchg16b: QEMU 7.2 makes its flags from
// what was computed before (helper_cmpxchg16b_unlocked of target/i386/tcg), any bit
// of them, and an interrupt that comes just then makes them the kernel's: it dies in
// its allocator, which is what uses the instruction.
const emulatedCPU = "max,-cx16"

// args are QEMU's arguments. The console is the only device besides the shares.
func (m *Machine) args() []string {
	accel, serial := []string{"-accel", m.accelerator(), "-cpu", emulatedCPU}, "stdio"
	if m.KVM {
		accel = []string{"-accel", "kvm", "-cpu", "host"}
	}
	if m.Interactive {
		serial = "mon:stdio" // Ctrl-C goes inside, Ctrl-A X ends
	}
	share := func(tag, path, more string) []string {
		return []string{"-virtfs", "local,path=" + path + ",mount_tag=" + tag + ",security_model=none" + more}
	}
	args := append(accel,
		"-m", strconv.Itoa(m.Memory), "-smp", strconv.Itoa(m.CPUs),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", serial,
		"-kernel", m.Kernel.Image, "-initrd", m.Kernel.Initramfs,
		"-append", "console=ttyS0 quiet panic=-1 oops=panic mitigations=off")
	args = append(args, share("root", "/", ",readonly=on,multidevs=remap")...)
	args = append(args, share("kmods", m.Kernel.Modules, ",readonly=on")...)
	args = append(args, share("in", m.In, ",readonly=on")...)
	return append(args, share("out", m.Out, "")...)
}
