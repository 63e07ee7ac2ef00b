package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileThere(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path    string
		present bool
	}{
		{there, true},
		{dir, true},
		{filepath.Join(dir, "absent"), false},
		{filepath.Join(there, "below a file"), false},
	} {
		_, err := File{Path: tt.path}.Probe(t.Context())
		if tt.present && err != nil || !tt.present && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("present %s: got %v", tt.path, err)
		}
		_, err = File{Path: tt.path, Test: FileAbsent}.Probe(t.Context())
		if !tt.present && err != nil || tt.present && !errors.Is(err, fs.ErrExist) {
			t.Errorf("absent %s: got %v", tt.path, err)
		}
		if errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: %v is inconclusive", tt.path, err)
		}
	}
}

// numbers are contents of files, and the number that they are.
var numbers = []struct {
	text string
	want int
	ok   bool
}{
	{"0", 0, true},
	{"7\n", 7, true},
	{" -3 \r\n", -3, true},
	{"+12", 12, true},
	{"007", 7, true},
	{"2147483647", 2147483647, true},
	{"-2147483648", -2147483648, true},
	{"2147483648", 0, false},
	{"-2147483649", 0, false},
	{"", 0, false},
	{"\n \t", 0, false},
	{"1 2", 0, false},
	{"1\n2", 0, false},
	{"0x10", 0, false},
	{"1e3", 0, false},
	{"1_000", 0, false},
	{"five", 0, false},
	{"5\x00", 0, false},
	{"\xef\xbb\xbf5", 0, false},
	{"٣", 0, false},
	{strings.Repeat(" ", 120) + "5", 5, true},
	{strings.Repeat(" ", 128) + "5", 0, false},
	{strings.Repeat("0", 100000), 0, false},
	{"1\n" + strings.Repeat("\x00", 1<<20), 0, false},
}

func TestFileNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "number")
	for _, tt := range numbers {
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		name := tt.text[:min(len(tt.text), 20)]
		report, err := File{Path: path, Test: FileNumber}.Probe(t.Context())
		var want Report
		if tt.want != 0 {
			want.Weight = Weight{AddWeight, max(tt.want, -maxWeight)}
		}
		if tt.ok && (err != nil || report != want) || !tt.ok && (!errors.Is(err, ErrInconclusive) || report != Report{}) {
			t.Errorf("number %q: got %v, %v", name, report, err)
		}
		_, err = File{Path: path, Test: FileZero}.Probe(t.Context())
		if pass := tt.ok && tt.want == 0; pass != (err == nil) || errors.Is(err, ErrInconclusive) == tt.ok {
			t.Errorf("zero %q: got %v", name, err)
		}
		if _, err := (File{Path: path}).Probe(t.Context()); err != nil {
			t.Errorf("present: %v", err)
		}
	}
}

func TestFileWeight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "number")
	for _, tt := range []struct {
		text         string
		weight, want int
	}{
		{"10", 0, 10},
		{"10", 1, 10},
		{"10", -1, -10},
		{"-10", 3, -30},
		{"0", 5, 0},
		{"", 5, 0},
		{"2147483647", 2147483647, 2147483647},
		{"-2147483648", 2147483647, -2147483647},
		{"-2147483648", -2147483647, 2147483647},
	} {
		if tt.text == "" { // absent, which is 0 as for keepalived
			os.Remove(path)
		} else if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		want := Weight{AddWeight, tt.want}
		if tt.want == 0 {
			want = Weight{}
		}
		report, err := File{Path: path, Test: FileNumber, Weight: tt.weight}.Probe(t.Context())
		if err != nil || report.Weight != want {
			t.Errorf("%q times %d: got %v, %v, want %v", tt.text, tt.weight, report.Weight, err, want)
		}
	}
}

func TestFileIsInvalid(t *testing.T) {
	for _, f := range []File{
		{},
		{Path: "a\x00b"},
		{Path: "x", Test: 99},
		{Path: "x", Weight: 1},
		{Path: "x", Test: FileZero, Weight: 1},
		{Path: "x", Test: FileNumber, Weight: -maxWeight - 1},
	} {
		if err := f.Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: Validate says %v", f, err)
		}
		if _, err := f.Probe(t.Context()); !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, ErrInconclusive) {
			t.Errorf("%+v: Probe says %v", f, err)
		}
	}
	if err := (File{Path: "/nowhere", Test: FileNumber, Weight: -5}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestFileTestAsText(t *testing.T) {
	for test, word := range map[FileTest]string{FilePresent: "present", FileAbsent: "absent", FileZero: "zero", FileNumber: "number"} {
		text, err := json.Marshal(test)
		if err != nil || string(text) != `"`+word+`"` || test.String() != word {
			t.Errorf("%v is %s, %v", test, text, err)
		}
		var back FileTest
		if err := json.Unmarshal(text, &back); err != nil || back != test {
			t.Errorf("%s is %v, %v", text, back, err)
		}
	}
	var f FileTest
	if err := f.UnmarshalText([]byte("empty")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := FileTest(9).MarshalText(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestFileOfACancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (File{Path: "/"}).Probe(ctx); !errors.Is(err, ErrInconclusive) {
		t.Errorf("got %v", err)
	}
}

func FuzzFileNumber(f *testing.F) {
	for _, tt := range numbers {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parseNumber(text)
		if err != nil {
			if !errors.Is(err, errNoNumber) || len(err.Error()) > 500 {
				t.Errorf("got %v", err)
			}
			return
		}
		if got := strings.TrimSpace(string(text)); fmt.Sprint(n) != strings.TrimLeft(got, "+") && strings.Trim(got, "+-0123456789") != "" {
			t.Errorf("%q is %d", text, n)
		}
	})
}

// A person writes how much of the server's weight is to be taken away.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "less")
	if err := os.WriteFile(path, []byte("30\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	report, err := File{Path: path, Test: FileNumber, Weight: -1}.Probe(context.Background())
	fmt.Println(report.Weight.Op == AddWeight, report.Weight.N, err)
	// Output: true -30 <nil>
}
