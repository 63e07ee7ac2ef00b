package laws

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// fatal are the functions that end a program, which is the program's to decide.
var fatal = []string{"Exit", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"}

// polite complains about a public package that acts without being called, or
// ends the program that uses it.
func polite(s source) (complaints []string) {
	if !s.public() || s.test() {
		return nil
	}
	for _, d := range s.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			complaints = append(complaints, s.at(f)+" has an init function")
		}
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" && f.Obj == nil {
				complaints = append(complaints, s.at(n)+" panics: return an error")
			}
		}
		return true
	})
	for _, p := range []string{"os", "log"} {
		s.uses(p, fatal, func(n ast.Node, name string) {
			complaints = append(complaints, s.at(n)+" calls "+name+": return an error")
		})
	}
	return complaints
}

// fileName is a Go file named in a package's documentation.
var fileName = regexp.MustCompile(`[a-z0-9_]+\.go\b`)

// explained complains about public packages without a doc.go that says how it
// flows, and about files that it names and that are not there. The rest of a
// name such as client_*.go is not looked for.
func explained(sources []source) (complaints []string) {
	files := map[string][]string{} // by folder
	docs := map[string]string{}
	for _, s := range sources {
		files[s.dir()] = append(files[s.dir()], path.Base(s.path))
		if path.Base(s.path) == "doc.go" && s.Doc != nil {
			docs[s.dir()] = s.Doc.Text()
		}
	}
	for _, s := range sources {
		dir := s.dir()
		if !s.public() || files[dir] == nil {
			continue
		}
		doc := new(comment.Parser).Parse(docs[dir])
		text := string(new(comment.Printer).Text(doc))
		if !strings.Contains(text, "How it flows") {
			complaints = append(complaints, dir+": doc.go does not say \"How it flows\"")
		}
		for _, name := range fileName.FindAllString(text, -1) {
			if !strings.HasPrefix(name, "_") && !slices.Contains(files[dir], name) {
				complaints = append(complaints, dir+": doc.go names "+name+", which is not there")
			}
		}
		delete(files, dir)
	}
	return complaints
}

// rootFiles are the files of the module's folder, besides those that begin with a dot.
var rootFiles = []string{"doc.go", "go.mod", "go.sum", "README.md", "LICENSE"}

// tidyRoot complains about other files in the module's folder.
func tidyRoot(root fs.FS) (complaints []string, err error) {
	entries, err := fs.ReadDir(root, ".")
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(rootFiles, e.Name()) {
			complaints = append(complaints, "the root folder holds "+e.Name())
		}
	}
	return complaints, err
}

// tools are the modules of the programs that developers run.
var tools = []string{"honnef.co/go/tools", "mvdan.cc/gofumpt", "golang.org/x/perf"}

// pinned complains about tools that are in the library's go.mod, or not in tools/.
func pinned(root fs.FS) (complaints []string, err error) {
	library, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		return nil, err
	}
	own, err := fs.ReadFile(root, "tools/go.mod")
	if err != nil {
		return nil, err
	}
	if regexp.MustCompile(`(?m)^tool\b`).Match(library) {
		complaints = append(complaints, "go.mod has tools: they belong into tools/go.mod")
	}
	for _, tool := range tools {
		require := regexp.MustCompile(`(?m)^\s*(require )?` + regexp.QuoteMeta(tool) + ` v`)
		if require.Match(library) {
			complaints = append(complaints, fmt.Sprintf("go.mod requires %s, a tool", tool))
		}
		if !require.Match(own) {
			complaints = append(complaints, fmt.Sprintf("tools/go.mod does not pin %s", tool))
		}
	}
	return complaints, nil
}

func TestPoliteComplains(t *testing.T) {
	try(t, polite, []trial{
		{"init", "ipvs/x.go", "func init() {}", 1},
		{"panic", "ipvs/x.go", "func f() { panic(1) }", 1},
		{"panic at the edge", "ipvs/x_linux.go", "func f() { panic(1) }", 1},
		{"os.Exit", "ipvs/x_linux.go", "import \"os\"\nfunc f() { os.Exit(1) }", 1},
		{"log.Fatal", "ipvs/x.go", "import \"log\"\nfunc f() { log.Fatalf(``) }", 1},
		{"a method named init", "ipvs/x.go", "type x int\nfunc (x) init() {}", 0},
		{"a function of one's own named panic", "ipvs/x.go", "func f(panic func(int)) { panic(1) }", 0},
		{"os.Exit in an example", "examples/x/main.go", "import \"os\"\nfunc f() { os.Exit(1) }", 0},
	})
}

func TestExplainedComplains(t *testing.T) {
	plan := parse(t, "ipvs/plan.go", "package ipvs")
	tests := []struct {
		name, doc string
		want      int
	}{
		{"no package documentation", "package ipvs", 1},
		{"nothing about the flow", "// Package ipvs does it.\npackage ipvs", 1},
		{"a file that is gone", "// Package ipvs does it.\n//\n// # How it flows\n//\n// See plan.go and\n// old.go.\npackage ipvs", 1},
		{"as it should be", "// Package ipvs does it.\n//\n// How it flows: plan.go, doc.go, conn_*.go\npackage ipvs", 0},
	}
	for _, tt := range tests {
		if got := explained([]source{plan, parse(t, "ipvs/doc.go", tt.doc)}); len(got) != tt.want {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
	if got := explained([]source{plan}); len(got) != 1 {
		t.Errorf("a package without doc.go: got %q", got)
	}
}

func TestTidyRootComplains(t *testing.T) {
	root := fstest.MapFS{"doc.go": {}, ".golangci.yml": {}, "ipvs/plan.go": {}, "notes.txt": {}, "main.go": {}}
	if got, err := tidyRoot(root); err != nil || len(got) != 2 {
		t.Errorf("got %q, %v; want complaints about notes.txt and main.go", got, err)
	}
}

func TestPinnedComplains(t *testing.T) {
	const all = "require (\n\thonnef.co/go/tools v0.8.2 // indirect\n\tmvdan.cc/gofumpt v0.12.0\n\tgolang.org/x/perf v0.1.0\n)\n"
	tests := []struct {
		name, library, tools string
		want                 int
	}{
		{"as it should be", "require golang.org/x/sys v0.49.0\n", all, 0},
		{"a tool in the library", "require mvdan.cc/gofumpt v0.12.0\n", all, 1},
		{"a tool line in the library", "tool example.org/cmd\n", all, 1},
		{"a tool that is not pinned", "", strings.ReplaceAll(all, "\tmvdan.cc/gofumpt v0.12.0\n", ""), 1},
	}
	for _, tt := range tests {
		root := fstest.MapFS{"go.mod": {Data: []byte(tt.library)}, "tools/go.mod": {Data: []byte(tt.tools)}}
		if got, err := pinned(root); err != nil || len(got) != tt.want {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
	}
}
