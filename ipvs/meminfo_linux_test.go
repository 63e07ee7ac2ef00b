package ipvs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketMemory reads SO_MEMINFO, for which x/sys has no function.
func socketMemory(fd int, info *[unix.SK_MEMINFO_VARS]uint32) {
	size := uint32(unsafe.Sizeof(*info))
	unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
}
