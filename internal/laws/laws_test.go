package laws

import (
	"os"
	"slices"
	"testing"
)

// The laws as they hold for the module.
func TestLaws(t *testing.T) {
	sources := load(t)
	if len(sources) < 10 || !slices.ContainsFunc(sources, source.public) {
		t.Fatalf("only %d files were found: the module is not where it was", len(sources))
	}
	each := func(law func(source) []string) func(*testing.T) {
		return func(t *testing.T) {
			for _, s := range sources {
				report(t, law(s), nil)
			}
		}
	}
	t.Run("public packages do not import each other", each(independent))
	t.Run("the library imports what its users should carry", each(frugal))
	t.Run("files that are not at the edge do not touch the system", each(pure))
	t.Run("time is an argument", each(timeless))
	t.Run("every loop file is one", func(t *testing.T) { report(t, needless(loops, sources), nil) })
	t.Run("a package neither acts on its own nor ends the program", each(polite))
	t.Run("every public package explains itself", func(t *testing.T) { report(t, explained(sources), nil) })
	t.Run("the root folder is tidy", func(t *testing.T) {
		complaints, err := tidyRoot(os.DirFS(moduleDir))
		report(t, complaints, err)
	})
	t.Run("tools are pinned in their own module", func(t *testing.T) {
		complaints, err := pinned(os.DirFS(moduleDir))
		report(t, complaints, err)
	})
}

func report(t *testing.T, complaints []string, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	for _, c := range complaints {
		t.Error(c)
	}
}

// A trial is a small source and how many complaints it deserves.
type trial struct {
	name, path, body string
	complaints       int
}

// try shows that a law complains, and about nothing else.
func try(t *testing.T, law func(source) []string, trials []trial) {
	t.Helper()
	for _, tt := range trials {
		if got := law(parse(t, tt.path, "package x\n"+tt.body)); len(got) != tt.complaints {
			t.Errorf("%s: got %q, want %d complaints", tt.name, got, tt.complaints)
		}
	}
}
