package bill

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/rpm"
	"albs/internal/sbom"
)

// Bounds of a buildroot record; one of a thousand packages has a quarter of a mebibyte.
const (
	maxRecord    = 16 << 20
	maxInstalled = 10_000
	maxWord      = 255 // bytes of a name, version, release or arch
)

// recordFormat is buildroot.RecordFormat, which a node writes.
const recordFormat = "albs-buildroot/v1"

// OfRoot returns the bill of the root in which a package was built, signed or not, by its
// sha256 or NEVRA (its file name will do): what it was built with. Which root that was the
// statement about the package says, and the ledger proves; what was in there is the node's
// word, as the record of that digest has it. Nothing of it is kept, so it is written each
// time, and not attested. NotFound if there is no such package, it wasn't built here, or
// the record was removed with its build. Anyone may ask.
func (b *Bills) OfRoot(ctx context.Context, what string, f sbom.Format) (Document, error) {
	if _, err := sbom.ParseFormat(string(f)); err != nil {
		return Document{}, err
	}
	said, record, err := b.rootOf(ctx, what)
	if err != nil {
		return Document{}, err
	}
	name := "buildroot-" + strings.ReplaceAll(said.RunDetails.Metadata.InvocationID, "/", "-")
	tag := strings.Join([]string{string(record), said.RunDetails.Metadata.InvocationID, string(f), b.Version}, "\n")
	return Document{
		Name: name + f.Ending(), Format: f, Tag: albs.DigestOf([]byte(tag)), Made: said.RunDetails.Metadata.FinishedOn,
		ready: func(ctx context.Context) (*Bytes, error) {
			text, err := b.render(ctx, func(ctx context.Context) (sbom.Bill, error) { return b.root(ctx, name, said, record) }, f)
			if err != nil {
				return nil, fmt.Errorf("write %s of %s: %w", f, name, err)
			}
			return text, nil
		},
	}, nil
}

// rootOf returns what is stated of the building of a package, of several of the name the
// newest, and the digest of the root's record.
func (b *Bills) rootOf(ctx context.Context, what string) (said attest.BuildBody, record albs.Digest, err error) {
	var named []albs.Digest
	if d, err := albs.ParseDigest(what); err == nil {
		a, err := b.Artifacts.Find(ctx, d)
		if err != nil {
			return said, "", err
		}
		named = append(named, unsigned(a.Unsigned, d))
	} else {
		n, err := rpm.ParseNEVRA(strings.TrimSuffix(what, ".rpm"))
		if err != nil {
			return said, "", albs.Errorf(albs.Invalid, "%.100q is neither the sha256 of a package nor its NEVRA", what)
		}
		found, err := b.Artifacts.Named(ctx, n, maxNamed)
		if err != nil {
			return said, "", err
		}
		for _, a := range found {
			named = append(named, unsigned(a.Unsigned, a.Digest))
		}
	}
	for i := len(named) - 1; i >= 0; i-- {
		stated, err := b.Provenance.Stated(ctx, named[i], attest.Build)
		if err != nil {
			return said, "", err
		}
		if len(stated) == 0 {
			continue
		}
		if err := stated[len(stated)-1].Body(&said); err != nil {
			return said, "", err
		}
		for _, d := range said.BuildDefinition.ResolvedDependencies {
			if d.Name == attest.DependencyBuildroot {
				record, err := albs.ParseDigest(d.Digest[attest.SHA256])
				return said, record, err
			}
		}
	}
	return said, "", albs.Errorf(albs.NotFound, "nothing says in which root %.100s was built", what)
}

func unsigned(of, own albs.Digest) albs.Digest {
	if of != "" {
		return of
	}
	return own
}

// root makes the bill of a root of the record.
func (b *Bills) root(ctx context.Context, name string, said attest.BuildBody, record albs.Digest) (sbom.Bill, error) {
	r, err := b.Artifacts.Blobs().Open(ctx, record)
	if err != nil {
		return sbom.Bill{}, fmt.Errorf("open the buildroot record: %w", err)
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return sbom.Bill{}, fmt.Errorf("read the buildroot record: %w", err)
	}
	packages, err := readRoot(text)
	if err != nil {
		return sbom.Bill{}, err
	}
	with := said.BuildDefinition.ExternalParameters
	system, err := b.system(ctx, with.Platform)
	if err != nil {
		return sbom.Bill{}, err
	}
	bill := b.words(sbom.BuildRoot)
	if bill.Made = said.RunDetails.Metadata.FinishedOn; bill.Made.IsZero() {
		bill.Made = time.Unix(0, 0)
	}
	return sbom.OfRoot(sbom.Component{
		Ref: "root", Name: name, Summary: "What was installed in the root when the build began, by the word of the node that made it",
		Download: b.URL + "/blobs/" + string(record),
		Properties: []sbom.Property{
			{Name: sbom.PropertyBuildroot, Value: string(record)}, {Name: sbom.PropertyTargetArch, Value: string(with.Arch)},
			{Name: sbom.PropertyBuilder, Value: said.RunDetails.Builder.ID}, {Name: sbom.PropertyNode, Value: said.BuildDefinition.InternalParameters.Node},
			{Name: sbom.PropertyInvocation, Value: said.RunDetails.Metadata.InvocationID},
		},
	}, packages, system, bill), nil
}

// readRoot reads which packages a buildroot record names. Invalid if it is none, or names
// what no document could tell; TooLarge beyond bounds.
func readRoot(text []byte) ([]sbom.Installed, error) {
	if len(text) > maxRecord {
		return nil, albs.Errorf(albs.TooLarge, "the buildroot record has more than %d bytes", maxRecord)
	}
	var in struct {
		Format   string `json:"format"`
		Packages []struct {
			Name    string      `json:"name"`
			Epoch   int         `json:"epoch"`
			Version string      `json:"version"`
			Release string      `json:"release"`
			Arch    string      `json:"arch"`
			SHA256  albs.Digest `json:"sha256"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, albs.Errorf(albs.Invalid, "the buildroot record can't be read: %w", err)
	}
	if in.Format != recordFormat {
		return nil, albs.Errorf(albs.Invalid, "the buildroot record is of the format %.40q, not %s", in.Format, recordFormat)
	}
	if len(in.Packages) > maxInstalled {
		return nil, albs.Errorf(albs.TooLarge, "the buildroot record names %d packages, %d are told of", len(in.Packages), maxInstalled)
	}
	var out []sbom.Installed
	for _, p := range in.Packages {
		for _, word := range []string{p.Name, p.Version, p.Release, p.Arch} {
			if len(word) > maxWord || strings.ContainsFunc(word, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
				return nil, albs.Errorf(albs.Invalid, "the buildroot record names a package %.80q, and its words are at most %d bytes of printable text", p.Name, maxWord)
			}
		}
		if p.Name == "" || p.Epoch < 0 || p.SHA256 != "" && !p.SHA256.Valid() {
			return nil, albs.Errorf(albs.Invalid, "the buildroot record names a package %.80q of epoch %d and file %.80q", p.Name, p.Epoch, string(p.SHA256))
		}
		out = append(out, sbom.Installed{NEVRA: rpm.NEVRA{Name: p.Name, Epoch: p.Epoch, Version: p.Version, Release: p.Release, Arch: p.Arch}, SHA256: p.SHA256})
	}
	return out, nil
}
