package lab_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

func TestPCAPIsWhatTcpdumpWrites(t *testing.T) {
	var b bytes.Buffer
	at := time.Unix(0x01020304, 5)
	if err := lab.WritePCAP(&b, []lab.Frame{{Time: at, Data: []byte{0xaa, 0xbb}}}); err != nil {
		t.Fatal(err)
	}
	const want = "4d3cb2a1" + "02000400" + "00000000" + "00000000" + "00000400" + "01000000" +
		"04030201" + "05000000" + "02000000" + "02000000" + "aabb"
	if have := hex.EncodeToString(b.Bytes()); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}
