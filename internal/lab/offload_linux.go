package lab

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of include/uapi/linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqData is struct ifreq of include/uapi/linux/if.h with ifr_data.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the union is larger than a pointer
}

// noOffload makes the kernel finish checksums before it hands frames to the
// interface. Scatter-gather and segmentation offload depend on that feature
// (netdev_fix_features, net/core/dev.c) and go with it.
func noOffload(name string) error {
	const setTxChecksum = 0x17 // ETHTOOL_STXCSUM
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	value := &ethtoolValue{cmd: setTxChecksum}
	req := &ifreqData{data: unsafe.Pointer(value)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(sock), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	runtime.KeepAlive(value)
	if errno != 0 {
		return errno
	}
	return nil
}
