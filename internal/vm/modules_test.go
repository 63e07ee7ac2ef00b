package vm

import (
	"slices"
	"testing"
)

const dep = `kernel/fs/netfs/netfs.ko:
kernel/net/9p/9pnet.ko:
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/fscache/fscache.ko kernel/fs/netfs/netfs.ko
kernel/fs/fscache/fscache.ko: kernel/fs/netfs/netfs.ko
kernel/drivers/virtio/virtio-ring.ko.xz:
kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio-ring.ko.xz
`

func TestLoadOrder(t *testing.T) {
	got, err := loadOrder(dep, "kernel/fs/overlayfs/overlay.ko\n", "9p", "overlay", "virtio_pci", "virtio_ring")
	want := []string{
		"kernel/fs/netfs/netfs.ko", "kernel/fs/fscache/fscache.ko", "kernel/net/9p/9pnet.ko", "kernel/fs/9p/9p.ko",
		"kernel/drivers/virtio/virtio-ring.ko.xz", "kernel/drivers/virtio/virtio_pci.ko.xz",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
}

func TestLoadOrderNamesAModuleThatIsNowhere(t *testing.T) {
	if order, err := loadOrder(dep, "", "overlay"); err == nil {
		t.Errorf("got %q", order)
	}
}
