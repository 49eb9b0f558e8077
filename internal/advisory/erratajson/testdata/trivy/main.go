// Command trivy PLACE PACKAGE… reads the folder PLACE/vuln-list/alma/RELEASE, which has one
// file an advisory, into a database in PLACE as Trivy's is made, and writes what Trivy would
// find of each package of release 9, a line each: package, CVE, version that mends.
package main

import (
	"fmt"
	"os"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/alma"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(place string, packages []string) error {
	if err := db.Init(place); err != nil {
		return err
	}
	defer db.Close()
	source := alma.NewVulnSrc()
	if err := source.Update(place); err != nil {
		return err
	}
	// The last step of making a database: what was told by CVE is kept by package.
	var all db.Config
	if err := all.ForEachVulnerabilityID(all.SaveAdvisoryDetails); err != nil {
		return err
	}
	for _, p := range packages {
		found, err := source.Get(db.GetParams{Release: "9", PkgName: p})
		if err != nil {
			return err
		}
		for _, a := range found {
			fmt.Println(p, a.VulnerabilityID, a.FixedVersion)
		}
	}
	return nil
}
