package main

import "testing"

func TestThePoolOfMetrics(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       bool
	}{
		{"a web server", `lvskit_ipvs_destination_weight{family="inet",local_address="192.168.247.188",remote_address="192.168.247.136",remote_port="80"} 1`, true},
		{"one that is drained", `lvskit_ipvs_destination_weight{family="inet",local_address="192.168.247.188",remote_address="192.168.247.136",remote_port="80"} 0`, false},
		{"another", `lvskit_ipvs_destination_weight{family="inet",local_address="192.168.247.188",remote_address="192.168.247.137",remote_port="80"} 1`, false},
		{"its connections", `lvskit_ipvs_destination_connections_active{family="inet",local_address="192.168.247.188",remote_address="192.168.247.136",remote_port="80"} 1`, false},
	} {
		if got := serves(tt.line, webs[1]); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
