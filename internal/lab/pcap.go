package lab

import (
	"encoding/binary"
	"io"
)

// WritePCAP writes frames in the format of tcpdump and wireshark, with times
// in nanoseconds (draft-ietf-opsawg-pcap, section 4).
func WritePCAP(w io.Writer, frames []Frame) error {
	const (
		magic    = 0xa1b23c4d // times are in nanoseconds
		snapLen  = 1 << 18
		ethernet = 1 // LINKTYPE_ETHERNET
	)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint16(b, 2) // version 2.4
	b = le.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, snapLen)
	b = le.AppendUint32(b, ethernet)
	for _, f := range frames {
		b = le.AppendUint32(b, uint32(f.Time.Unix()))
		b = le.AppendUint32(b, uint32(f.Time.Nanosecond()))
		b = le.AppendUint32(b, uint32(len(f.Data)))
		b = le.AppendUint32(b, uint32(len(f.Data)))
		b = append(b, f.Data...)
	}
	_, err := w.Write(b)
	return err
}
