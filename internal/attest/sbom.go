package attest

import (
	"strings"

	"albs/internal/albs"
)

// SBOMBody names the bills of materials of the subject: of a package, whose statement is
// about its file, or of a build or release, whose statements are about each document.
type SBOMBody struct {
	Kind string `json:"kind"` // package, build or release
	// Build is the build that it is of, or that the package is from.
	Build int64 `json:"build,omitempty"`
	// Release is the release that it is of, or that made the package public at Serial of
	// Product; Tree is what was shown then.
	Release int64       `json:"release,omitempty"`
	Product string      `json:"product,omitempty"`
	Serial  int64       `json:"serial,omitempty"`
	Tree    albs.Digest `json:"tree,omitempty"`
	// Documents are the same bill in several formats, each by the format's name and its
	// sha256.
	Documents []Descriptor `json:"documents"`
}

// SBOMPackage is the Kind of a package's SBOMBody.
const SBOMPackage = "package"

// billed looks at the bills of materials of a package, signed or not. Nobody has to have
// made one; what is said of one binds its documents to the package.
func (c *chain) billed(d albs.Digest, has content) error {
	for _, f := range c.about(d, SBOM) {
		var b SBOMBody
		if err := f.read(&b); err != nil {
			return err
		}
		if err := has.check(f); err != nil {
			return err
		}
		if b.Kind != SBOMPackage || len(b.Documents) == 0 {
			return broken(LinkChain, "%s names no bill of a package", f.key)
		}
		var documents []string
		for _, o := range b.Documents {
			sum := albs.Digest(o.Digest[SHA256])
			if !sum.Valid() {
				return broken(LinkChain, "%s names the document %.40q without its sha256", f.key, o.Name)
			}
			documents = append(documents, o.Name+" "+sum.Short())
		}
		c.step(f, LinkChain, "%s has the bill of materials %s", d.Short(), strings.Join(documents, ", "))
	}
	return nil
}
