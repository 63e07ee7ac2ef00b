package debian

import (
	"slices"
	"testing"
)

const pkgnames = `linux-image-6.1.0-9-amd64
linux-image-6.1.0-47-amd64
linux-image-6.1.0-47-amd64-dbg
linux-image-6.1.0-47-amd64-unsigned
linux-image-6.1.0-47-cloud-amd64
linux-image-6.1.0-56-amd64
linux-image-6.1.0-56-rt-amd64
linux-image-6.12-amd64
linux-image-6.12-amd64-signed-template
linux-image-6.12.9+deb12-amd64
linux-image-6.12.107+deb12-amd64
linux-image-6.12.107+deb12-cloud-amd64
linux-image-6.12.117+deb12-amd64
linux-image-6.12.117+deb12-amd64
linux-image-6.12.117+deb12-arm64
linux-image-6.12.43+deb13.1-amd64
linux-image-6.17.8+deb13-amd64
linux-image-6.100.1-1-amd64
`

func TestNewestSortsByNumbersAndKnowsOnlySignedKernels(t *testing.T) {
	tests := []struct {
		series, arch string
		want         []string
	}{
		{"6.1", "amd64", []string{"linux-image-6.1.0-56-amd64", "linux-image-6.1.0-47-amd64", "linux-image-6.1.0-9-amd64"}},
		{"6.12", "amd64", []string{
			"linux-image-6.12.117+deb12-amd64", "linux-image-6.12.107+deb12-amd64",
			"linux-image-6.12.43+deb13.1-amd64", "linux-image-6.12.9+deb12-amd64",
		}},
		{"6.12", "arm64", []string{"linux-image-6.12.117+deb12-arm64"}},
		{"5.10", "amd64", nil},
	}
	for _, tt := range tests {
		if got := newest(pkgnames, tt.series, tt.arch); !slices.Equal(got, tt.want) {
			t.Errorf("%s %s:\ngot  %q\nwant %q", tt.series, tt.arch, got, tt.want)
		}
	}
}
