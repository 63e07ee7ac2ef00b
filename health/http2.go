package health

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// exchange2 asks by HTTP/2. The body is read from the connection as it is read.
func (p HTTP) exchange2(c io.ReadWriter, u URL) (status int, body io.Reader, err error) {
	s, err := openStream2(c, p.request2(u), nil)
	if err != nil {
		return 0, nil, err
	}
	for range maxInterim {
		fields, err := s.readHeaders()
		if err != nil {
			return 0, nil, err
		}
		status, err := status2(fields)
		if err != nil {
			return 0, nil, err
		}
		if status/100 != 1 {
			return status, s, nil
		}
	}
	return 0, nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

// request2 is a request as it is sent.
func (p HTTP) request2(u URL) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: u.method()},
		{Name: ":scheme", Value: p.scheme()},
		{Name: ":path", Value: u.path()},
		{Name: ":authority", Value: p.authority(u)},
	}
	if len(u.Header.Values("User-Agent")) == 0 {
		fields = append(fields, hpack.HeaderField{Name: "user-agent", Value: "lvskit"})
	}
	for _, name := range slices.Sorted(maps.Keys(u.Header)) {
		for _, v := range u.Header[name] {
			fields = append(fields, hpack.HeaderField{Name: strings.ToLower(name), Value: strings.Trim(v, " \t")})
		}
	}
	return fields
}

// status2 is the status of an answer: the pseudo field :status, once and first (RFC
// 9113, section 8.3).
func status2(fields []hpack.HeaderField) (int, error) {
	if len(fields) > 0 && fields[0].Name == ":status" && len(fields[0].Value) == 3 {
		n, err := strconv.ParseUint(fields[0].Value, 10, 16)
		if err == nil && n >= 100 && n != http.StatusSwitchingProtocols {
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("an answer without a status")
}
