package ipvs

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse reads anything without a panic, and what it takes survives being
// written and read.
func FuzzParse(f *testing.F) {
	for _, rules := range []string{
		"-A -t 192.0.2.1:80 -s rr -p 300 -M 255.255.255.0\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 65537 -x 10 -y 5\n",
		"-A -u [fd00::5]:5060 -s wlc -p 60 -M 64 --pe sip -o\n-a -u [fd00::5]:5060 -r [fd00::1]:5060 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum\n",
		"ipvsadm -A -f -1 -6 -s sh -b sh-fallback,sh-port\nipvsadm -E -f 4294967295 -6 -s mh -b mh-port\n-d -f 1 -r 1.2.3.4\n-C\n",
		"-At=192.0.2.1 -p -b\n--add-server --tcp-service=192.0.2.1 -r10.0.0.1 -gw 3 # comment\n",
	} {
		f.Add([]byte(rules))
	}
	f.Fuzz(func(t *testing.T, rules []byte) {
		services, err := Parse(bytes.NewReader(rules))
		if err != nil {
			var op *OpError
			if !errors.As(err, &op) || !strings.HasPrefix(op.Object, "line ") {
				t.Fatalf("the error names no line: %v", err)
			}
			return
		}
		var text bytes.Buffer
		if err := Format(&text, services); err != nil {
			t.Fatalf("what was read is refused: %v", err)
		}
		again, err := Parse(bytes.NewReader(text.Bytes()))
		if err != nil {
			t.Fatalf("what was written is refused: %v in\n%s", err, text.Bytes())
		}
		if !reflect.DeepEqual(again, services) {
			t.Fatalf("read back\n%+v\nwant\n%+v\nfrom\n%s", again, services, text.Bytes())
		}
		if changes, err := Plan(services, again, Policy{Owns: OwnAll}); err != nil || len(changes) != 0 {
			t.Fatalf("equal tables differ by %v, %v", changes, err)
		}
	})
}
