#!/bin/sh
# The first program in the finished file system: runs the shared "script" and
# switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root USER=root LANG=C.UTF-8
unset TERM
out=/run/lvskit/out
ip link set lo up
(
	n=0
	while :; do
		n=$((n + 1))
		echo $n > $out/beat
		sleep 5
	done
) &
sh $out/script < /dev/null
echo done > $out/done
echo o > /proc/sysrq-trigger
sleep 600
