package csaf

import (
	_ "embed"
	"strings"
	"sync"
)

// cweList are the weaknesses of CWE 4.17 (The MITRE Corporation, cwe.mitre.org), a number
// and a name in each line: a document names a weakness by both, and as the list does.
//
//go:embed cwe.txt
var cweList string

var cweNames = sync.OnceValue(func() map[string]string {
	names := make(map[string]string, 1000)
	for line := range strings.Lines(cweList) {
		if n, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			names["CWE-"+n] = name
		}
	}
	return names
})
