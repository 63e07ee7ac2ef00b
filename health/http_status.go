package health

import (
	"strconv"
	"strings"
)

// StatusRange is a range of HTTP status codes, both ends included; 100 to 999.
type StatusRange struct{ From, To int }

// StatusRanges are the status codes that are good. As text they are "200-299,301",
// also with spaces for commas.
type StatusRanges []StatusRange

// ParseStatusRanges reads ranges as they are written: "200-299,301". The empty text
// has none. The error matches fs.ErrInvalid.
func ParseStatusRanges(text string) (StatusRanges, error) {
	var ranges StatusRanges
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for list := range strings.SplitSeq(text, ",") {
		fields := strings.Fields(list)
		if len(fields) == 0 {
			return nil, opError("parse", "status ranges "+excerpt(text), invalid("a range is missing between commas"))
		}
		for _, field := range fields {
			from, to, dash := strings.Cut(field, "-")
			if !dash {
				to = from
			}
			r := StatusRange{statusCode(from), statusCode(to)}
			if err := r.validate(); err != nil {
				return nil, opError("parse", "status ranges "+excerpt(text), err)
			}
			ranges = append(ranges, r)
		}
	}
	return ranges, nil
}

// statusCode is 0 for what is none.
func statusCode(text string) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || len(text) != 3 {
		return 0
	}
	return int(n)
}

func (r StatusRange) validate() error {
	if r.From < 100 || r.To > 999 || r.From > r.To {
		return invalid("want codes or ranges from 100 to 999, such as 200-299,301")
	}
	return nil
}

func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To)
}

// Contains tells whether the code is in one of the ranges.
func (r StatusRanges) Contains(code int) bool {
	for _, one := range r {
		if one.From <= code && code <= one.To {
			return true
		}
	}
	return false
}

func (r StatusRanges) String() string {
	var b strings.Builder
	for i, one := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(one.String())
	}
	return b.String()
}

// MarshalText is String.
func (r StatusRanges) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseStatusRanges.
func (r *StatusRanges) UnmarshalText(text []byte) error {
	parsed, err := ParseStatusRanges(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}
