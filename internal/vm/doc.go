// Package vm boots a QEMU machine with a Debian kernel on this machine's own
// files: the root file system is shared read-only below a layer of memory, so
// that every program and every path of this machine is there, and nothing that
// happens inside comes out except what is written into one shared folder.
//
// The processor is emulated unless KVM is asked for: a virtual machine can
// offer a /dev/kvm that hangs. Computation inside is then some ten times
// slower. The machine has no network card: traffic stays inside.
//
// It needs the programs qemu-system-x86_64, depmod, xz and a static busybox,
// and Debian's package tools to fetch a kernel. Nothing needs root.
//
// How it flows: Fetch (kernel.go) has the kernel's package unpacked into the
// cache; modules.go finds what the kernel must load to see the shared folders,
// initramfs.go packs it with init.sh by the writer of cpio.go; Machine.Run
// (machine.go) starts QEMU and watch.go ends it when it is done, stuck or late,
// keeping what it said (console.go). cache.go and lock_linux.go let two
// programs use one cache at a time.
package vm
