package laid

import (
	"strings"

	"albs/internal/attest"
)

// Endings are those of the files that lie beside a package, in the order in which they
// are laid: who finds one finds those before it. The last is only beside packages that
// the releaser has verified.
var Endings = []string{attest.EnvelopesSuffix, attest.ProofSuffix, attest.LogProofSuffix, attest.SummarySuffix}

// Beside returns the name of the package that a file lies beside; of any other file it
// is the file's own name.
func Beside(name string) (of string, beside bool) {
	for _, e := range Endings {
		if of, ok := strings.CutSuffix(name, e); ok && strings.HasSuffix(of, ".rpm") {
			return of, true
		}
	}
	return name, false
}
