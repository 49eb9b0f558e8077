// Command csaf asks gocsaf, which others wrote, whether JSON files are what CSAF 2.0 has
// them be: documents, by the schema and by the names of their files, a feed or a provider's
// metadata, by the schemas of those. It prints a line for each fault and exits 1 if there
// was any. It is a module of its own, for it links what nothing else here does.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gocsaf/csaf/v3/csaf"
	"github.com/gocsaf/csaf/v3/util"
)

func main() {
	faulty := false
	for _, path := range os.Args[1:] {
		faults, err := check(path)
		if err != nil {
			faults = append(faults, err.Error())
		}
		for _, f := range faults {
			faulty = true
			fmt.Printf("%s: %s\n", path, f)
		}
	}
	if faulty {
		os.Exit(1)
	}
}

func check(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	switch name := filepath.Base(path); {
	case name == "provider-metadata.json":
		return csaf.ValidateProviderMetadata(doc)
	case strings.HasPrefix(name, "csaf-feed-"):
		return csaf.ValidateROLIE(doc)
	default:
		faults, err := csaf.ValidateCSAF(doc)
		if err != nil {
			return nil, err
		}
		if err := util.IDMatchesFilename(util.NewPathEval(), doc, name); err != nil {
			faults = append(faults, err.Error())
		}
		return faults, nil
	}
}
