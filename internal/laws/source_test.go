package laws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/lvskit/lvskit"
	moduleDir  = "../.." // from this folder, in which its tests run
)

// A source is a parsed file of the module.
type source struct {
	path string // from the module's folder, with slashes: ipvs/plan.go
	*ast.File
	fset *token.FileSet
}

func parse(t *testing.T, path, text string) source {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{path, f, fset}
}

// load parses all Go files of the module; tools/ is another module.
func load(t *testing.T) []source {
	t.Helper()
	var sources []source
	err := filepath.WalkDir(moduleDir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(moduleDir, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := rel != "." && strings.HasPrefix(d.Name(), ".")
			if hidden || d.Name() == "testdata" || rel == "tools" {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(file, ".go") {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			sources = append(sources, parse(t, filepath.ToSlash(rel), string(text)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// dir is the folder of the file: ipvs/userspace.
func (s source) dir() string { return path.Dir(s.path) }

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// under tells whether the file is in the folder or below it.
func (s source) under(dir string) bool { return strings.HasPrefix(s.path, dir+"/") }

// public tells whether the file belongs to a package that users import.
func (s source) public() bool {
	return s.dir() != "." && !s.under("internal") && !s.under("examples")
}

// edge tells whether the file is for some systems only, by its name or by a
// build constraint.
func (s source) edge() bool {
	name := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
	if strings.HasSuffix(name, "_linux") || strings.HasSuffix(name, "_other") {
		return true
	}
	for _, group := range s.Comments {
		for _, c := range group.List {
			if c.Pos() < s.Package && strings.HasPrefix(c.Text, "//go:build ") {
				return true
			}
		}
	}
	return false
}

// imports are the paths of the file's imports.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// at says where a node is.
func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// uses calls found for each use of a name of an imported package: time.Now.
func (s source) uses(importPath string, names []string, found func(n ast.Node, name string)) {
	local := ""
	for _, spec := range s.Imports {
		if spec.Path.Value == strconv.Quote(importPath) {
			local = path.Base(importPath)
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		// An identifier with an object is a variable that hides the package.
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && x.Obj == nil && slices.Contains(names, sel.Sel.Name) {
			found(n, importPath+"."+sel.Sel.Name)
		}
		return true
	})
}
