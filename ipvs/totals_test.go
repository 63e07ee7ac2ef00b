package ipvs

import (
	"strings"
	"testing"
)

const totalsText = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       A       1F        0 123456789ABCDEF0                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       1        2        3                4              BEEF
`

func TestTotalsAreRead(t *testing.T) {
	got, err := parseTotals(totalsText)
	want := Stats{
		Connections: 10, InPackets: 31, InBytes: 0x123456789abcdef0,
		ConnectionRate: 1, InPacketRate: 2, OutPacketRate: 3, InByteRate: 4, OutByteRate: 0xbeef,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	lines := strings.SplitAfter(totalsText, "\n")
	for _, broken := range []string{
		"", strings.Join(lines[:4], ""), strings.Join(lines[3:], ""), totalsText + lines[2],
		strings.Replace(totalsText, "1F", "XY", 1), strings.Replace(totalsText, "123456789ABCDEF0", "123456789ABCDEF01", 1),
	} {
		if s, err := parseTotals(broken); err == nil {
			t.Errorf("%q is read as %+v", broken, s)
		}
	}
}

func FuzzTotals(f *testing.F) {
	f.Add(totalsText)
	f.Add("1 2 3 4 5\n6 7 8 9 a\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseTotals(text); err != nil && s != (Stats{}) {
			t.Errorf("an error, %v, with %+v", err, s)
		}
	})
}
