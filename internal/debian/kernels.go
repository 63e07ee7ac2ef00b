package debian

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// newest are the packages of Debian's signed kernel for real machines (not
// cloud, not rt, not unsigned, no debug symbols) of a series such as "6.12" in
// the output of apt-cache pkgnames, the newest first.
func newest(pkgnames, series, arch string) []string {
	// bookworm and older: 6.1.0-56, backports and newer: 6.12.117+deb12
	form := regexp.MustCompile(`^linux-image-` + regexp.QuoteMeta(series) +
		`\.[0-9]+(-[0-9]+|\+deb[0-9]+(\.[0-9]+)?)?-` + regexp.QuoteMeta(arch) + `$`)
	var found []string
	for name := range strings.FieldsSeq(pkgnames) {
		if form.MatchString(name) && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return CompareVersions(b, a) })
	return found
}

var digits = regexp.MustCompile(`[0-9]+`)

// CompareVersions compares the numbers in two package names one by one.
func CompareVersions(a, b string) int {
	return slices.CompareFunc(digits.FindAllString(a, -1), digits.FindAllString(b, -1), func(a, b string) int {
		m, _ := strconv.Atoi(a)
		n, _ := strconv.Atoi(b)
		return cmp.Compare(m, n)
	})
}

// NewestKernel is the package of the newest kernel of a series, such as "6.12",
// that the configured archives offer to this machine's architecture.
func NewestKernel(ctx context.Context, series string) (string, error) {
	arch, err := run(ctx, "", "dpkg", "--print-architecture")
	if err != nil {
		return "", err
	}
	names, err := run(ctx, "", "apt-cache", "pkgnames", "linux-image-"+series+".")
	if err != nil {
		return "", err
	}
	// Names stay in apt's memory after their package has left the archive.
	for _, name := range newest(names, series, strings.TrimSpace(arch)) {
		if uris, err := run(ctx, "", "apt-get", "download", "--print-uris", name); err == nil && strings.TrimSpace(uris) != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("the archives of this machine have no kernel %s (Debian 12 has 6.1 and 6.12): apt-get update, or add an archive that has it", series)
}
