#!/bin/busybox sh
# The first program inside: makes this machine's files from the shared folders,
# and hands over to the shared program "start".
b=/bin/busybox
die() { echo "init: $*"; echo o > /proc/sysrq-trigger; $b sleep 60; }

$b mkdir -p /proc /dev /ro /rw /new
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for m in $($b cat /order); do $b insmod "/modules/$m" || die "load $m"; done

p9() { $b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2" || die "mount the share $1"; }
p9 root /ro cache=loose,ro
$b mount -t tmpfs rw /rw
# layer NAME LOWER TARGET: LOWER, writable, at TARGET
layer() {
	$b mkdir -p "/rw/$1/u" "/rw/$1/w" "$3"
	$b mount -t overlay -o "lowerdir=$2,upperdir=/rw/$1/u,workdir=/rw/$1/w" overlay "$3" || die "mount over $3"
}
layer root /ro /new
for d in proc:proc sysfs:sys devtmpfs:dev tmpfs:run tmpfs:tmp; do
	$b mount -t "${d%:*}" "${d%:*}" "/new/${d#*:}"
done
$b chmod 1777 /new/tmp
$b mkdir -p /new/dev/pts /new/dev/shm /new/dev/net /new/run/lock /new/run/lvskit/in /new/run/lvskit/out /new/lib/modules
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
$b mount -t tmpfs shm /new/dev/shm
$b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
[ -e /new/dev/net/tun ] || $b mknod /new/dev/net/tun c 10 200
for l in fd: stdin:/0 stdout:/1 stderr:/2; do
	[ -e "/new/dev/${l%:*}" ] || $b ln -s "/proc/self/fd${l#*:}" "/new/dev/${l%:*}"
done

p9 kmods /new/lib/modules cache=loose,ro
p9 in /new/run/lvskit/in cache=loose,ro
p9 out /new/run/lvskit/out cache=none
# What lies where the machine has memory of its own is put there again.
while read -r dir; do
	case $dir in /tmp/*|/run/*|/dev/shm/*) layer source "/ro$dir" "/new$dir";; esac
done < /new/run/lvskit/out/source

echo lvskit > /proc/sys/kernel/hostname
echo ready > /new/run/lvskit/out/ready
exec $b switch_root /new /bin/sh /run/lvskit/out/start
