package sysctl

import (
	"fmt"
	"math"
	"strconv"
)

// limits are the values that the kernel knows, by key with a star for the
// interface. It takes others without a word: rp_filter=5 is stored and acts
// like no documented value. (Kernel: Documentation/networking/ip-sysctl.rst,
// ipvs-sysctl.rst, nf_conntrack-sysctl.rst.)
var limits = map[string]Want{
	"net/ipv4/ip_forward":                   flag,
	"net/ipv4/ip_nonlocal_bind":             flag,
	"net/ipv4/ip_default_ttl":               Between(1, 255),
	"net/ipv4/conf/*/accept_local":          flag,
	"net/ipv4/conf/*/accept_redirects":      flag,
	"net/ipv4/conf/*/arp_accept":            Between(0, 2),
	"net/ipv4/conf/*/arp_announce":          Between(0, 2),
	"net/ipv4/conf/*/arp_filter":            flag,
	"net/ipv4/conf/*/arp_ignore":            OneOf(0, 1, 2, 3, 8), // 4 to 7 are reserved
	"net/ipv4/conf/*/arp_notify":            flag,
	"net/ipv4/conf/*/forwarding":            flag,
	"net/ipv4/conf/*/log_martians":          flag,
	"net/ipv4/conf/*/promote_secondaries":   flag,
	"net/ipv4/conf/*/proxy_arp":             flag,
	"net/ipv4/conf/*/route_localnet":        flag,
	"net/ipv4/conf/*/rp_filter":             Between(0, 2),
	"net/ipv4/conf/*/send_redirects":        flag,
	"net/ipv4/conf/*/src_valid_mark":        flag,
	"net/ipv4/neigh/*/gc_thresh1":           count,
	"net/ipv4/neigh/*/gc_thresh2":           count,
	"net/ipv4/neigh/*/gc_thresh3":           count,
	"net/ipv6/ip_nonlocal_bind":             flag,
	"net/ipv6/conf/*/accept_dad":            Between(-1, 2),
	"net/ipv6/conf/*/accept_ra":             Between(0, 2),
	"net/ipv6/conf/*/accept_redirects":      flag,
	"net/ipv6/conf/*/disable_ipv6":          flag,
	"net/ipv6/conf/*/forwarding":            flag,
	"net/ipv6/neigh/*/gc_thresh1":           count,
	"net/ipv6/neigh/*/gc_thresh2":           count,
	"net/ipv6/neigh/*/gc_thresh3":           count,
	"net/ipv4/vs/backup_only":               flag,
	"net/ipv4/vs/cache_bypass":              flag,
	"net/ipv4/vs/conn_reuse_mode":           Between(0, 3),
	"net/ipv4/vs/conntrack":                 flag,
	"net/ipv4/vs/drop_entry":                Between(0, 3),
	"net/ipv4/vs/drop_packet":               Between(0, 3),
	"net/ipv4/vs/expire_nodest_conn":        flag,
	"net/ipv4/vs/expire_quiescent_template": flag,
	"net/ipv4/vs/ignore_tunneled":           flag,
	"net/ipv4/vs/nat_icmp_send":             flag,
	"net/ipv4/vs/pmtu_disc":                 flag,
	"net/ipv4/vs/run_estimation":            flag,
	"net/ipv4/vs/schedule_icmp":             flag,
	"net/ipv4/vs/secure_tcp":                Between(0, 3),
	"net/ipv4/vs/sloppy_sctp":               flag,
	"net/ipv4/vs/sloppy_tcp":                flag,
	"net/ipv4/vs/snat_reroute":              flag,
	"net/ipv4/vs/sync_persist_mode":         flag,
	"net/ipv4/vs/sync_version":              flag,
	"net/netfilter/nf_conntrack_max":        count,
}

var (
	flag  = Between(0, 1)
	count = Between(0, math.MaxInt32)
)

// checkLimits refuses a Want that could make us write an unknown value.
func checkLimits(k Key, w Want) error {
	limit, known := limits[k.pattern()]
	if !known {
		return nil
	}
	for _, v := range w.extremes() {
		if !limit.Allows(v) {
			return fmt.Errorf("%w: %s=%s: the kernel knows %s", ErrRange, k, v, limit)
		}
	}
	return nil
}

// extremes are all values that the Want may lead to writing.
func (w Want) extremes() []string {
	if w.kind != wantNumber || w.set != nil {
		return w.candidates("")
	}
	var e []string
	if w.min != math.MinInt64 {
		e = append(e, strconv.FormatInt(w.min, 10))
	}
	if w.max != math.MaxInt64 {
		e = append(e, strconv.FormatInt(w.max, 10))
	}
	return e
}
