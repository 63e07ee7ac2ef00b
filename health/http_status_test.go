package health

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"testing"
)

func TestParseStatusRanges(t *testing.T) {
	tests := []struct {
		text string
		want StatusRanges
		ok   bool
	}{
		{"200", StatusRanges{{200, 200}}, true},
		{"200-299", StatusRanges{{200, 299}}, true},
		{"200-299,301", StatusRanges{{200, 299}, {301, 301}}, true},
		{" 200 , 404-410 ", StatusRanges{{200, 200}, {404, 410}}, true},
		{"200 301-399", StatusRanges{{200, 200}, {301, 399}}, true}, // as keepalived has it
		{"100-999", StatusRanges{{100, 999}}, true},
		{"", nil, true},
		{"  ", nil, true},
		{"20", nil, false},
		{"099", nil, false},
		{"1000", nil, false},
		{"299-200", nil, false},
		{"200-", nil, false},
		{"-200", nil, false},
		{"200 - 299", nil, false},
		{"200--299", nil, false},
		{"200,,301", nil, false},
		{",", nil, false},
		{"+20", nil, false},
		{"2xx", nil, false},
		{"٢٠٠", nil, false},
	}
	for _, tt := range tests {
		got, err := ParseStatusRanges(tt.text)
		if (err == nil) != tt.ok || !slices.Equal(got, tt.want) || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: got %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}

func TestStatusRangesInJSON(t *testing.T) {
	var got struct{ Status StatusRanges }
	if err := json.Unmarshal([]byte(`{"Status":"200-299,301"}`), &got); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(got); err != nil || string(text) != `{"Status":"200-299,301"}` {
		t.Errorf("got %s, %v", text, err)
	}
	for code, want := range map[int]bool{199: false, 200: true, 299: true, 300: false, 301: true, 302: false} {
		if got.Status.Contains(code) != want {
			t.Errorf("%d: want %t", code, want)
		}
	}
	if err := json.Unmarshal([]byte(`{"Status":"ok"}`), &got); err == nil {
		t.Error("no ranges were read as some")
	}
}

func FuzzParseStatusRanges(f *testing.F) {
	for _, seed := range []string{"200-299,301", "200 301-399", "", ",", "299-200", "-", "200--"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := ParseStatusRanges(text)
		if err != nil {
			return
		}
		again, err := ParseStatusRanges(ranges.String())
		if err != nil || !slices.Equal(again, ranges) {
			t.Errorf("%q is %v, which is read as %v, %v", text, ranges, again, err)
		}
		for _, r := range ranges {
			if r.validate() != nil || !ranges.Contains(r.From) || !ranges.Contains(r.To) {
				t.Errorf("%q has %v", text, r)
			}
		}
	})
}
