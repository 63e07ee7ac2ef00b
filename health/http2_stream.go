package health

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2/hpack"
)

// Frames, flags and settings of HTTP/2 (RFC 9113, sections 6 and 6.5.2).
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindow       = 8
	frameContinuation = 9

	flagEndStream  = 0x1 // of frameData, frameHeaders
	flagAck        = 0x1 // of frameSettings, framePing
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingEnablePush    = 2
	settingWindow        = 4
	settingMaxHeaderList = 6

	maxFrame    = 16384 // SETTINGS_MAX_FRAME_SIZE as it is at first
	maxWindow   = 1<<31 - 1
	firstWindow = 65535
	// maxControl is how many frames besides those with content may come.
	maxControl = 1000
)

const preface2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// stream2 is the one stream of a connection in HTTP/2 that ends with it. It is read
// by the goroutine that probes, there is no other.
type stream2 struct {
	out     io.Writer
	in      *bufio.Reader
	decoder *hpack.Decoder

	payload []byte // what is left of a DATA frame
	ended   bool   // END_STREAM has come
	settled bool   // SETTINGS has come
	control int    // frames
	trailer []hpack.HeaderField
}

// openStream2 begins a connection and sends a request, with a body unless that is nil.
// Headers and body must fit into the windows and frames that every server has at first.
func openStream2(c io.ReadWriter, header []hpack.HeaderField, body []byte) (*stream2, error) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range header {
		if err := encoder.WriteField(f); err != nil {
			return nil, err
		}
	}
	if block.Len() > maxFrame || len(body) > maxFrame {
		return nil, invalid("the request has more than %d bytes", maxFrame)
	}
	settings := appendSetting(nil, settingEnablePush, 0)
	settings = appendSetting(settings, settingWindow, maxWindow) // what we take is bounded elsewhere
	settings = appendSetting(settings, settingMaxHeaderList, maxHeaders)
	out := []byte(preface2)
	out = appendFrame(out, frameSettings, 0, 0, settings)
	out = appendFrame(out, frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, maxWindow-firstWindow))
	if body == nil {
		out = appendFrame(out, frameHeaders, flagEndHeaders|flagEndStream, 1, block.Bytes())
	} else {
		out = appendFrame(out, frameHeaders, flagEndHeaders, 1, block.Bytes())
		out = appendFrame(out, frameData, flagEndStream, 1, body)
	}
	if _, err := c.Write(out); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	s := &stream2{out: c, in: bufio.NewReader(c), decoder: hpack.NewDecoder(4096, nil)}
	s.decoder.SetMaxStringLength(maxHeaders)
	return s, nil
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}

func appendFrame(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// frame2 is a frame as it comes.
type frame2 struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f frame2) has(flag byte) bool { return f.flags&flag != 0 }

// readFrame reads any frame.
func (s *stream2) readFrame() (f frame2, err error) {
	var head [9]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return f, unexpected(err)
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	f = frame2{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) & maxWindow}
	if !s.settled && (f.kind != frameSettings || f.has(flagAck) || f.stream != 0) || n > maxFrame {
		return f, fmt.Errorf("the server does not speak HTTP/2: it sent %q", head)
	}
	s.settled = true
	f.payload = make([]byte, n)
	_, err = io.ReadFull(s.in, f.payload)
	return f, unexpected(err)
}

// readContent reads up to a frame with content of our stream, HEADERS or DATA, and
// sees to the others.
func (s *stream2) readContent() (frame2, error) {
	for s.control < maxControl {
		f, err := s.readFrame()
		if err != nil {
			return f, err
		}
		if f.kind == frameHeaders || f.kind == frameData && len(f.payload) > 0 || f.kind == frameData && f.has(flagEndStream) {
			if f.stream != 1 {
				return f, violation("a frame of stream %d", f.stream)
			}
			return f.unpadded()
		}
		s.control++
		if err := s.obey(f); err != nil {
			return f, err
		}
	}
	return frame2{}, fmt.Errorf("more than %d frames without content", maxControl)
}

// obey sees to a frame without content.
func (s *stream2) obey(f frame2) error {
	switch f.kind {
	case frameSettings:
		if f.has(flagAck) {
			return nil
		}
		return s.send(frameSettings, nil)
	case framePing:
		if f.has(flagAck) || len(f.payload) != 8 {
			return violation("an unwanted PING")
		}
		return s.send(framePing, f.payload)
	case frameReset:
		if f.stream == 1 && len(f.payload) == 4 {
			return fmt.Errorf("the server has reset the stream: error code %d", binary.BigEndian.Uint32(f.payload))
		}
		return violation("a reset of stream %d", f.stream)
	case frameGoAway:
		if len(f.payload) >= 8 && binary.BigEndian.Uint32(f.payload)&maxWindow < 1 {
			return fmt.Errorf("the server goes away: error code %d", binary.BigEndian.Uint32(f.payload[4:]))
		}
	case framePush, frameContinuation:
		return violation("a frame of type %d", f.kind)
	}
	return nil // priorities, windows, what is not known: nothing to do
}

// send acknowledges.
func (s *stream2) send(kind byte, payload []byte) error {
	if _, err := s.out.Write(appendFrame(nil, kind, flagAck, 0, payload)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// violation is what no server may do.
func violation(format string, args ...any) error {
	return fmt.Errorf("the server violates HTTP/2: "+format, args...)
}

// unpadded removes padding and priority.
func (f frame2) unpadded() (frame2, error) {
	if f.has(flagPadded) {
		if len(f.payload) < 1 || len(f.payload) < 1+int(f.payload[0]) {
			return f, violation("bad padding")
		}
		f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	}
	if f.kind == frameHeaders && f.has(flagPriority) {
		if len(f.payload) < 5 {
			return f, violation("a short HEADERS")
		}
		f.payload = f.payload[5:]
	}
	return f, nil
}

// readHeaders reads the header of an answer, an interim one perhaps. After the last
// one comes the body: Read.
func (s *stream2) readHeaders() ([]hpack.HeaderField, error) {
	f, err := s.readContent()
	switch {
	case err != nil:
		return nil, err
	case f.kind != frameHeaders || s.ended:
		return nil, violation("no header before the body")
	}
	return s.header(f)
}

// header decodes a HEADERS frame and those that continue it.
func (s *stream2) header(f frame2) ([]hpack.HeaderField, error) {
	s.ended = f.has(flagEndStream)
	block := f.payload
	for !f.has(flagEndHeaders) {
		next, err := s.readFrame()
		switch {
		case err != nil:
			return nil, err
		case next.kind != frameContinuation || next.stream != 1:
			return nil, violation("headers are not continued")
		case len(block)+len(next.payload) > maxHeaders:
			return nil, errHeaders
		}
		s.control++
		if s.control > maxControl {
			return nil, errHeaders
		}
		f = next
		block = append(block, f.payload...)
	}
	var fields []hpack.HeaderField
	size := uint32(0)
	s.decoder.SetEmitFunc(func(field hpack.HeaderField) {
		if size += field.Size(); size <= maxHeaders {
			fields = append(fields, field)
		}
	})
	_, err := s.decoder.Write(block)
	if err = errors.Join(err, s.decoder.Close()); err != nil {
		return nil, violation("%.100s", err)
	}
	if size > maxHeaders {
		return nil, errHeaders
	}
	return fields, nil
}

// Read reads the body. At its end trailer has the trailers.
func (s *stream2) Read(b []byte) (int, error) {
	for len(s.payload) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		f, err := s.readContent()
		if err != nil {
			return 0, err
		}
		if f.kind == frameData {
			s.payload, s.ended = f.payload, f.has(flagEndStream)
			if len(f.payload) == 0 {
				s.control++ // only padding
			}
			continue
		}
		if s.trailer, err = s.header(f); err != nil {
			return 0, err
		}
		if !s.ended {
			return 0, violation("trailers before the end")
		}
	}
	n := copy(b, s.payload)
	s.payload = s.payload[n:]
	return n, nil
}
