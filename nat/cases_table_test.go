package nat

// packetCases are the kinds of rules, alone and together.
var packetCases = []packetCase{
	{"without rules nothing changes", nil, []string{
		"tcp client > pub:80 = client > pub:80 by gateway",
		"udp pc > far:53 = pc > far:53 by eth1",
		"ping pc > client = pc > client by eth1",
		"udp gw > web:53 = gw > web:53 by eth0",
		"udp pc > lost:53 = nowhere",
	}},

	// DNAT of what is published.
	{"a published port leads to a server", []string{"dnat: tcp destination {pub:80} to {web:8080}"}, []string{
		"tcp client > pub:80 = client > web:8080 by eth0",
		"tcp far > pub:80 = far > web:8080 by eth0",
		"tcp client > pub:81 = client > pub:81 by gateway",
		"udp client > pub:80 = client > pub:80 by gateway",
		"tcp client > vip:80 = client > vip:80 by eth1",
		"ping client > pub = client > pub by gateway",
	}},
	{"a published port may stay the same", []string{"dnat: udp destination {vip:53} to {web}"}, []string{
		"udp client > vip:53 = client > web:53 by eth0",
		"udp guest > vip:53 = guest > web:53 by eth0",
		"tcp client > vip:53 = client > vip:53 by eth1",
	}},
	{"inside machines are published for each other, and for guests", []string{"dnat: tcp destination {pub:80} to {web:8080}"}, []string{
		"tcp guest > pub:80 = guest > web:8080 by eth0",
		"tcp pc > pub:80 = pc > web:8080 by eth0",
	}},
	{"the gateway's own connections go to the server too", []string{"dnat: tcp destination {pub:80} to {web:8080}", "dnat: udp destination {outside:53} to {db}"}, []string{
		"tcp gw > pub:80 = gw > web:8080 by eth0",
		"tcp pub > pub:80 = pub > web:8080 by eth0",
		"udp pub > client:53 = pub > db:53 by eth0",
	}},
	{"ports are shifted one by one", []string{"dnat: tcp destination {pub:8000-8009} to {web:9000-9009}"}, []string{
		"tcp client > pub:8000 = client > web:9000 by eth0",
		"tcp client > pub:8005 = client > web:9005 by eth0",
		"tcp client > pub:8009 = client > web:9009 by eth0",
		"tcp client > pub:8010 = client > pub:8010 by gateway",
		"tcp client > pub:7999 = client > pub:7999 by gateway",
		"tcp gw > pub:8007 = gw > web:9007 by eth0",
	}},
	{"ports are shifted downwards, and over themselves", []string{"dnat: udp destination {vip:9000-9003} to {web:8998-9001}"}, []string{
		"udp client > vip:9000 = client > web:8998 by eth0",
		"udp client > vip:9003 = client > web:9001 by eth0",
	}},
	{"ports of one interface are shifted", []string{"dnat: tcp in eth1 destination {pub:8000-8009} to {web:9000-9009}"}, []string{
		"tcp client > pub:8000 = client > web:9000 by eth0",
		"tcp client > pub:8009 = client > web:9009 by eth0",
		"tcp guest > pub:8000 = guest > pub:8000 by gateway",
		"tcp client > pub:8010 = client > pub:8010 by gateway",
		"tcp pub > pub:8000 = pub > pub:8000 by gateway",
	}},
	{"ports of some sources are shifted", []string{"dnat: udp source {client} destination {outside:100-101} to {web:65534-65535}"}, []string{
		"udp client > pub:100 = client > web:65534 by eth0",
		"udp client > vip:101 = client > web:65535 by eth0",
		"udp other > vip:101 = other > vip:101 by eth1",
	}},
	{"a range of ports leads to one", []string{"dnat: tcp destination {pub:8000-8009} to {web:80}"}, []string{
		"tcp client > pub:8000 = client > web:80 by eth0",
		"tcp client > pub:8009 = client > web:80 by eth0",
		"tcp client > pub:8010 = client > pub:8010 by gateway",
		"tcp pub > pub:8003 = pub > web:80 by eth0",
	}},
	{"a range of ports stays as it is", []string{"dnat: udp destination {pub:8000-8009} to {web}"}, []string{
		"udp client > pub:8000 = client > web:8000 by eth0",
		"udp client > pub:8009 = client > web:8009 by eth0",
		"udp client > pub:7999 = client > pub:7999 by gateway",
	}},
	{"all ports of a protocol lead to a server", []string{"dnat: tcp destination {vip} to {web}"}, []string{
		"tcp client > vip:1 = client > web:1 by eth0",
		"tcp client > vip:65535 = client > web:65535 by eth0",
		"udp client > vip:1 = client > vip:1 by eth1",
		"tcp gw > vip:443 = gw > web:443 by eth0",
	}},
	{"all ports of a protocol lead to one", []string{"dnat: tcp destination {vip} to {web:80}"}, []string{
		"tcp client > vip:1 = client > web:80 by eth0",
		"tcp client > vip:65535 = client > web:80 by eth0",
	}},
	{"a whole address leads to a server", []string{"dnat: destination {vip} to {web}"}, []string{
		"tcp client > vip:80 = client > web:80 by eth0",
		"udp client > vip:80 = client > web:80 by eth0",
		"ping client > vip = client > web by eth0",
		"gre client > vip = client > web by eth0",
		"ping pub > vip = pub > web by eth0",
	}},
	{"protocols without ports", []string{"dnat: {icmp} destination {vip} to {web}", "dnat: gre destination {pub} to {db}"}, []string{
		"ping client > vip = client > web by eth0",
		"gre client > pub = client > db by eth0",
		"gre client > vip = client > vip by eth1",
		"ping client > pub = client > pub by gateway",
		"tcp client > vip:80 = client > vip:80 by eth1",
	}},
	{"a network leads to a server", []string{"dnat: tcp destination {outside:443} to {web:8443}"}, []string{
		"tcp client > pub:443 = client > web:8443 by eth0",
		"tcp pc > client:443 = pc > web:8443 by eth0",
		"tcp pc > far:443 = pc > far:443 by eth1",
	}},
	{"all that comes by an interface leads to a server", []string{"dnat: {family} udp in eth2 destination *:53 to {web}"}, []string{
		"udp guest > far:53 = guest > web:53 by eth0",
		"udp guest > gwguest:53 = guest > web:53 by eth0",
		"udp pc > far:53 = pc > far:53 by eth1",
		"udp pub > far:53 = pub > far:53 by eth1",
		"udp guest > far:54 = guest > far:54 by eth1",
	}},
	{"some sources", []string{"dnat: tcp source {client} destination {pub:80} to {web:8080}", "dnat: tcp source {inside} destination {pub:80} to {guest}"}, []string{
		"tcp client > pub:80 = client > web:8080 by eth0",
		"tcp pc > pub:80 = pc > guest:80 by eth2",
		"tcp other > pub:80 = other > pub:80 by gateway",
		"tcp gw > pub:80 = gw > guest:80 by eth2",
	}},
	{"some source ports", []string{"dnat: tcp source {outside:2000-29999} destination {pub:80} to {web:8080}", "dnat: {family} udp in eth1 source *:2000-29999 to {db}"}, []string{
		"tcp client:2000 > pub:80 = client:2000 > web:8080 by eth0",
		"tcp client:30000 > pub:80 = client:30000 > pub:80 by gateway",
		"udp far:2000 > pub:80 = far:2000 > db:80 by eth0",
		"udp far:30000 > pub:80 = far:30000 > pub:80 by gateway",
	}},
	{"a target without a way", []string{"dnat: tcp destination {pub:80} to {lost:80}", "dnat: udp destination {lost:53} to {web}"}, []string{
		"tcp client > pub:80 = nowhere",
		"udp client > lost:53 = client > web:53 by eth0",
		"udp pub > lost:53 = nowhere",
	}},
	{"a target that is the gateway", []string{"dnat: tcp destination {vip:80} to {gw:8080}"}, []string{
		"tcp client > vip:80 = client > gw:8080 by gateway",
		"tcp pc > vip:80 = pc > gw:8080 by gateway",
	}},

	// Order.
	{"the first that matches wins", []string{
		"dnat: tcp in eth1 destination {pub:80} to {web:1}",
		"dnat: tcp destination {pub:70-90} to {db:2}",
		"dnat: tcp destination {pub} to {high:3}",
	}, []string{
		"tcp client > pub:80 = client > web:1 by eth0",
		"tcp guest > pub:80 = guest > db:2 by eth0",
		"tcp client > pub:90 = client > db:2 by eth0",
		"tcp client > pub:91 = client > high:3 by eth0",
	}},
	{"the first that matches wins, though it says less", []string{
		"dnat: tcp destination {pub} to {high:3}",
		"dnat: tcp destination {pub:70-90} to {db:2}",
		"dnat: tcp in eth1 destination {pub:80} to {web:1}",
	}, []string{
		"tcp client > pub:80 = client > high:3 by eth0",
		"tcp guest > pub:75 = guest > high:3 by eth0",
	}},
	{"what is published comes before all others", []string{
		"dnat: {family} tcp in eth1 to {high:3}",
		"dnat: tcp destination {pub} to {db:2}",
		"redirect: {family} tcp destination *:80 to *:3128",
		"dnat: tcp destination {pub:80} to {web:1}",
		"dnat: tcp destination {vip:80-81} to {web:180-181}",
	}, []string{
		"tcp client > pub:80 = client > web:1 by eth0",
		"tcp client > vip:81 = client > web:181 by eth0",
		"tcp client > vip:82 = client > high:3 by eth0",
		"tcp guest > pub:81 = guest > db:2 by eth0",
		"tcp guest > vip:80 = guest > web:180 by eth0",
		"tcp guest > far:80 = guest > gwguest:3128 by gateway",
	}},
	{"a range that stays as it is has its place", []string{
		"dnat: tcp destination {pub} to {high:3}",
		"dnat: tcp destination {pub:80-81} to {web:80-81}",
	}, []string{
		"tcp client > pub:80 = client > high:3 by eth0",
	}},
	{"an exception by the first rule", []string{
		"snat: source {inside} destination {guests} out eth2 to {gwguest}",
		"snat: source {pc} out eth1 to {vip}",
		"masquerade: source {inside} out eth1",
	}, []string{
		"tcp pc > guest:80 = gwguest > guest:80 by eth2",
		"tcp pc > far:80 = vip > far:80 by eth1",
		"tcp web > far:80 = pub > far:80 by eth1",
	}},

	// Redirect.
	{"a redirect leads to the gateway", []string{"redirect: {family} tcp in eth0 destination *:80 to *:3128"}, []string{
		"tcp pc > far:80 = pc > gw:3128 by gateway",
		"tcp pc > gw:80 = pc > gw:3128 by gateway",
		"tcp guest > far:80 = guest > far:80 by eth1",
		"tcp pub > far:80 = pub > far:80 by eth1",
		"udp pc > far:80 = pc > far:80 by eth1",
	}},
	{"a redirect of a network, and from one", []string{"redirect: udp source {inside} destination {outside:53} to *:5353"}, []string{
		"udp pc > client:53 = pc > gw:5353 by gateway",
		"udp pc > far:53 = pc > far:53 by eth1",
		"udp guest > client:53 = guest > client:53 by eth1",
		"udp gw > client:53 = gw > client:53 by eth1",
	}},
	{"a redirect of ports, to one and shifted", []string{
		"redirect: {family} udp in eth1 destination *:100-110 to *:99",
		"redirect: {family} udp destination *:100-110 to *:200-210",
	}, []string{
		"udp client > pub:105 = client > pub:99 by gateway",
		"udp guest > far:100 = guest > gwguest:200 by gateway",
		"udp pc > far:110 = pc > gw:210 by gateway",
		"udp pc > far:111 = pc > far:111 by eth1",
	}},

	// SNAT.
	{"an inside network has one address outside", []string{"snat: source {inside} out eth1 to {pub}"}, []string{
		"tcp pc > far:80 = pub > far:80 by eth1",
		"udp web > client:53 = pub > client:53 by eth1",
		"ping pc > client = pub > client by eth1",
		"gre pc > client = pub > client by eth1",
		"tcp pc > guest:80 = pc > guest:80 by eth2",
		"tcp guest > far:80 = guest > far:80 by eth1",
	}},
	{"an address that nobody has", []string{"snat: source {lower} to {vip}"}, []string{
		"tcp pc > far:80 = vip > far:80 by eth1",
		"udp pc > guest:80 = vip > guest:80 by eth2",
		"udp high > far:80 = high > far:80 by eth1",
	}},
	{"the gateway's own connections", []string{"snat: source {gw} out eth1 to {vip}"}, []string{
		"tcp gw > far:80 = vip > far:80 by eth1",
		"tcp pc > far:80 = pc > far:80 by eth1",
	}},
	{"by the protocol, the port and the destination", []string{
		"snat: tcp source {inside} destination {far:80} to {vip}",
		"snat: {family} udp destination *:50-60 out eth1 to {vip}",
		"snat: {icmp} destination {outside} out eth1 to {vip}",
	}, []string{
		"tcp pc > far:80 = vip > far:80 by eth1",
		"tcp pc > far:81 = pc > far:81 by eth1",
		"tcp pc > client:80 = pc > client:80 by eth1",
		"udp pc > client:60 = vip > client:60 by eth1",
		"udp pc > client:61 = pc > client:61 by eth1",
		"udp pc > guest:60 = pc > guest:60 by eth2",
		"ping pc > client = vip > client by eth1",
		"ping pc > far = pc > far by eth1",
	}},
	{"by the source port", []string{"snat: tcp source {inside:2000-29999} out eth1 to {vip}"}, []string{
		"tcp pc:2000 > far:80 = vip:2000 > far:80 by eth1",
		"tcp pc:30000 > far:80 = pc:30000 > far:80 by eth1",
	}},
	{"to some ports", []string{"snat: udp source {inside} out eth1 to {pub:60000-60099}", "snat: tcp source {inside} out eth1 to {pub:60000}"}, []string{
		"udp pc > far:53 = pub:60000-60099 > far:53 by eth1",
		"udp web > far:53 = pub:60000-60099 > far:53 by eth1",
		"tcp pc > far:80 = pub:60000 > far:80 by eth1",
		"tcp pc > far:81 = pub:60000 > far:81 by eth1",
	}},
	{"to ports that cannot be foretold", []string{
		"snat: tcp source {inside} out eth1 to {pub} random",
		"snat: udp source {inside} out eth1 to {pub:60000-60999} random",
		"snat: source {inside} out eth2 to {gwguest} random",
	}, []string{
		"tcp pc > far:80 = pub:0-65535 > far:80 by eth1",
		"udp pc > far:53 = pub:60000-60999 > far:53 by eth1",
		"udp pc > guest:53 = gwguest:0-65535 > guest:53 by eth2",
		"ping pc > guest = gwguest:0-65535 > guest by eth2",
	}},
	{"what the destination was before", []string{
		"dnat: tcp destination {vip:80} to {web:8080}",
		"dnat: tcp destination {pub:80} to {web:8080}",
		"snat: tcp original {vip:80} out eth0 to {gw}",
		"snat: {family} udp original *:1000-1999 out eth1 to {vip}",
	}, []string{
		"tcp client > vip:80 = gw > web:8080 by eth0",
		"tcp client > pub:80 = client > web:8080 by eth0",
		"tcp client > web:80 = client > web:80 by eth0",
		"udp pc > far:1999 = vip > far:1999 by eth1",
		"udp pc > far:2000 = pc > far:2000 by eth1",
	}},
	{"what the destination was before, by its network", []string{
		"dnat: udp destination {vip:53} to {db:5353}",
		"masquerade: udp source {all} original {outside} out eth0",
	}, []string{
		"udp client > vip:53 = gw > db:5353 by eth0",
		"udp client > db:53 = client > db:53 by eth0",
	}},
	{"the port after DNAT", []string{
		"dnat: tcp destination {vip:80} to {web:8080}",
		"snat: tcp destination {web:8080} to {gw}",
		"snat: {family} tcp destination *:80 to {gwguest}",
	}, []string{
		"tcp client > vip:80 = gw > web:8080 by eth0",
		"tcp client > web:80 = gwguest > web:80 by eth0",
	}},
	{"both ends change", []string{"dnat: udp destination {pub:53} to {db:5353}", "masquerade: udp destination {db:5353} out eth0"}, []string{
		"udp client > pub:53 = gw > db:5353 by eth0",
		"udp pub > pub:53 = gw > db:5353 by eth0",
	}},

	// Masquerade.
	{"an interface's address", []string{"masquerade: {family} out eth1", "masquerade: source {inside} out eth2"}, []string{
		"tcp pc > far:80 = pub > far:80 by eth1",
		"tcp guest > far:80 = pub > far:80 by eth1",
		"udp pc > guest:80 = gwguest > guest:80 by eth2",
		"ping pc > guest = gwguest > guest by eth2",
		"ping client > pc = client > pc by eth0",
		"gre guest > far = pub > far by eth1",
	}},
	{"an interface's address, with ports", []string{
		"masquerade: tcp source {inside} out eth1 to *:60000-60099",
		"masquerade: udp source {inside} out eth1 to *:61000-61999 random",
		"masquerade: {family} out eth1 random",
	}, []string{
		"tcp pc > far:80 = pub:60000-60099 > far:80 by eth1",
		"udp pc > far:53 = pub:61000-61999 > far:53 by eth1",
		"udp guest > far:53 = pub:0-65535 > far:53 by eth1",
		"ping pc > far = pub:0-65535 > far by eth1",
	}},
	{"the gateway itself, by another of its addresses", []string{"masquerade: source {gw} out eth1"}, []string{
		"tcp gw > far:80 = pub > far:80 by eth1",
		"tcp pub > far:80 = pub > far:80 by eth1",
	}},

	// Hairpin.
	{"machines beside the server", []string{"dnat: tcp destination {pub:80} to {web:8080} hairpin {inside}"}, []string{
		"tcp pc > pub:80 = gw > web:8080 by eth0",
		"tcp web > pub:80 = gw > web:8080 by eth0",
		"tcp client > pub:80 = client > web:8080 by eth0",
		"tcp guest > pub:80 = guest > web:8080 by eth0",
		"tcp pc > far:80 = pc > far:80 by eth1",
		"tcp gw > pub:80 = gw > web:8080 by eth0",
	}},
	{"a hairpin comes before snat", []string{
		"snat: source {inside} to {vip}",
		"dnat: udp source {all} destination {pub:50-60} to {web} hairpin {lower}",
	}, []string{
		"udp pc > pub:53 = gw > web:53 by eth0",
		"udp high > pub:53 = vip > web:53 by eth0",
		"udp guest > pub:53 = guest > web:53 by eth0",
	}},
	{"hairpins of several networks", []string{
		"dnat: tcp destination {pub:80} to {web} hairpin {lower}",
		"dnat: tcp destination {pub:81} to {guest} hairpin {guests}",
		"dnat: {icmp} destination {vip} to {web} hairpin {inside}",
	}, []string{
		"tcp pc > pub:80 = gw > web:80 by eth0",
		"tcp guest > pub:81 = gwguest > guest:81 by eth2",
		"tcp pc > pub:81 = pc > guest:81 by eth2",
		"ping high > vip = gw > web by eth0",
		"tcp high > pub:80 = gw > web:80 by eth0",
	}},
	{"what is not sent on is no hairpin", []string{"dnat: tcp destination {pub:80} to {web:8080} hairpin {all}"}, []string{
		"tcp client > web:8080 = client > web:8080 by eth0",
		"tcp client > pub:80 = gw > web:8080 by eth0",
	}},

	{"SCTP has ports too", []string{
		"dnat: sctp destination {pub:3868} to {web:8080} hairpin {inside}",
		"dnat: sctp destination {vip:100-103} to {db:200-203}",
		"redirect: {family} sctp in eth2 destination *:9 to *:99",
		"snat: sctp source {inside} destination {far:1-100} out eth1 to {pub:60000-60099}",
	}, []string{
		"sctp client > pub:3868 = client > web:8080 by eth0",
		"sctp pc > pub:3868 = gw > web:8080 by eth0",
		"sctp client > vip:103 = client > db:203 by eth0",
		"sctp guest > far:9 = guest > gwguest:99 by gateway",
		"sctp pc > far:9 = pub:60000-60099 > far:9 by eth1",
		"sctp pc > far:101 = pc > far:101 by eth1",
		"tcp client > pub:3868 = client > pub:3868 by gateway",
	}},

	// All of it.
	{"a gateway as it is", []string{
		"dnat web: tcp destination {pub:3344} to {web:3344} hairpin {inside}",
		"dnat dns: udp destination {pub:53} to {db}",
		"dnat ftp: tcp in eth1 destination {pub:20000-20010} to {web}",
		"redirect proxy: {family} tcp in eth2 destination *:80 to *:3128",
		"snat out: source {inside} out eth1 to {pub}",
		"masquerade guests: source {guests} out eth1 random",
	}, []string{
		"tcp client > pub:3344 = client > web:3344 by eth0",
		"tcp pc > pub:3344 = gw > web:3344 by eth0",
		"udp client > pub:53 = client > db:53 by eth0",
		"tcp client > pub:20007 = client > web:20007 by eth0",
		"tcp guest > far:80 = guest > gwguest:3128 by gateway",
		"tcp guest > far:443 = pub:0-65535 > far:443 by eth1",
		"tcp pc > far:443 = pub > far:443 by eth1",
	}},
}
