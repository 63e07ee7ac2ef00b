package netns

import "golang.org/x/sys/unix"

// Capable tells whether the calling thread has all these capabilities
// (unix.CAP_NET_ADMIN, ...) in its user namespace.
func Capable(caps ...int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	for _, c := range caps {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}
