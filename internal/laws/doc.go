// Package laws holds no code: its tests read the module's source and complain
// where it breaks the rules that hold the packages apart and their insides
// testable.
//
//   - Public packages do not import each other. A subpackage may import its parent.
//   - The library imports only the modules in a short list; what tests, tools and
//     examples use besides stays with them.
//   - Every file is pure unless its name or its build constraint says that it is
//     for one system, or the list of loop files in purity_test.go says why it is
//     not: no descriptors, no sockets, no clock, no goroutine.
//   - No init, no os.Exit, no log.Fatal, no panic in a public package, no cgo.
//   - Each public package explains itself in doc.go, which says "How it flows" and
//     names only files that exist.
//   - The root folder holds the map and the module, and nothing else; the tools
//     are pinned in a module of their own.
//
// How it flows: source_test.go parses the module; imports_test.go,
// purity_test.go and house_test.go have the rules, each shown to complain about
// a small bad source beside it; laws_test.go applies them all.
package laws
