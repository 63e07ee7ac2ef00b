package sysctl

import "strconv"

// Rule says how the kernel makes one value of net/ipv4/conf/all/NAME and
// net/ipv4/conf/IFACE/NAME (kernel: include/linux/inetdevice.h, the IN_DEV_
// macros).
type Rule uint8

const (
	// Own: the interface's own value alone counts (IN_DEV_CONF_GET). All keys
	// but those of net/ipv4/conf are of this kind, IPv6 altogether.
	Own Rule = iota
	// Max: the larger of the two counts (IN_DEV_MAXCONF).
	Max
	// Or: on if either is not 0 (IN_DEV_ORCONF).
	Or
	// And: on if both are not 0 (IN_DEV_ANDCONF).
	And
	// Redirects: And if the interface forwards, else Or (IN_DEV_RX_REDIRECTS).
	Redirects
)

// String is the rule in a few words.
func (r Rule) String() string {
	switch r {
	case Own:
		return "the interface alone counts"
	case Max:
		return "the larger of all and interface counts"
	case Or:
		return "on if all or interface is"
	case And:
		return "on if all and interface are"
	case Redirects:
		return "on if all and interface are, on a forwarding interface; else if one of them is"
	}
	return "Rule(" + strconv.Itoa(int(r)) + ")"
}

// rules has the names in net/ipv4/conf that are not Own.
var rules = map[string]Rule{
	"rp_filter": Max, "arp_ignore": Max, "arp_announce": Max, "arp_notify": Max,
	// Before 5.18 it was Or, and had only 0 and 1, for which the two agree.
	"arp_accept":   Max,
	"accept_local": Or, "arp_filter": Or, "send_redirects": Or, "promote_secondaries": Or,
	"route_localnet": Or, "proxy_arp": Or, "log_martians": Or, "secure_redirects": Or,
	"shared_media": Or, "src_valid_mark": Or, "ignore_routes_with_linkdown": Or,
	"drop_gratuitous_arp": Or, "drop_unicast_in_l2_multicast": Or,
	"accept_source_route": And, "mc_forwarding": And, "bootp_relay": And,
	"bc_forwarding": And, "arp_evict_nocarrier": And,
	"accept_redirects": Redirects,
}

// RuleOf is the rule for a key. Keys of "all" and "default" are Own.
func RuleOf(k Key) Rule {
	iface, name, ok := k.conf("ipv4")
	if !ok || iface == "all" || iface == "default" {
		return Own
	}
	return rules[name]
}

// Effective is the value that the kernel acts upon, made by the key's rule
// from the values of the interface and of "all" in have; for And and Or it is
// "0" or "1". It is false if the key itself is not in have; where the key of
// "all" is missing, or one of them is no number, it is the key's own value.
func Effective(have Values, k Key) (string, bool) {
	own, ok := have[k]
	own = normal(own)
	others := companions(k)
	if !ok || len(others) == 0 {
		return own, ok
	}
	mine, err1 := strconv.ParseInt(own, 10, 64)
	all, err2 := strconv.ParseInt(normal(have[others[0]]), 10, 64)
	if err1 != nil || err2 != nil {
		return own, true
	}
	rule := RuleOf(k)
	if rule == Redirects {
		rule = Or
		if f := normal(have[others[1]]); f != "" && f != "0" {
			rule = And
		}
	}
	switch rule {
	case Max:
		return strconv.FormatInt(max(mine, all), 10), true
	case Or:
		return zeroOrOne(mine != 0 || all != 0), true
	default:
		return zeroOrOne(mine != 0 && all != 0), true
	}
}

// companions are the other keys on which the effective value depends.
func companions(k Key) []Key {
	rule := RuleOf(k)
	if rule == Own {
		return nil
	}
	iface, name, _ := k.conf("ipv4")
	keys := []Key{IPv4Conf("all", name)}
	if rule == Redirects {
		keys = append(keys, IPv4Conf(iface, "forwarding"))
	}
	return keys
}

func zeroOrOne(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
