package attest

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/rpm"
)

// VSABody is SLSA's verification summary v1 (slsa.dev/spec/v1.1/verification_summary): that
// whoever signed it verified a released package as Verify does, and found that all of it
// holds. Bundle.Summary says what each field is. It is the releaser's statement, and lies
// beside the package for those who believe him and don't want to verify by themselves.
type VSABody struct {
	Verifier           Builder      `json:"verifier"`
	TimeVerified       time.Time    `json:"timeVerified"`
	ResourceURI        string       `json:"resourceUri"`
	Policy             Descriptor   `json:"policy"`
	InputAttestations  []Descriptor `json:"inputAttestations"`
	VerificationResult string       `json:"verificationResult"`
	VerifiedLevels     []string     `json:"verifiedLevels"`
	SLSAVersion        string       `json:"slsaVersion"`
}

// slsaVersion is that of the specification whose levels a summary names.
const slsaVersion = "1.1"

// builderApart is the end of the ids of builders that are isolated from the master, from
// the network and from other builds. No other builder's has it.
const builderApart = "/apart/v1"

// BuildLevel returns the level of SLSA's build track that is claimed for a builder;
// docs/design/builders.md says why.
func BuildLevel(builder string) int {
	if strings.HasSuffix(builder, builderApart) {
		return 3
	}
	return 1
}

// MaxSummary bounds an encoded summary.
const MaxSummary = ledger.MaxValue + 1

// Verification is what only the verifier knows of a verification that succeeded.
type Verification struct {
	// Product is the one that the package is released in.
	Product string
	// At is the time, of which whole seconds count.
	At time.Time
	// Policy is the digest of the trust file.
	Policy albs.Digest
	// Where is the address of the package, beside which the files lie by which it was
	// verified; "" if it has none.
	Where string
}

// Verifier returns the URI of whoever verifies and signs with a key: so a summary names the
// one verifier for whom its key may sign.
func Verifier(key ed25519.PublicKey) string { return "urn:albs:releaser:" + KeyID(key) }

// Summary returns what the holder of a key states of the signed package p, whose file has
// that digest, after Verify has accepted it with b, its proof of the public log included:
// who verified it when; what it is, a purl in the product; by which trust file of which
// ledger; by which three files beside it; and its level, the lowest of all that built it.
// Nothing is verified here. It is Invalid if a statement of b can't be read.
func (b Bundle) Summary(p *rpm.Package, file albs.Digest, key ed25519.PublicKey, v Verification) (Statement, error) {
	level, err := b.level()
	if err != nil {
		return Statement{}, err
	}
	body := VSABody{
		Verifier:     Builder{ID: Verifier(key)},
		TimeVerified: v.At.UTC().Truncate(time.Second),
		ResourceURI:  resource(v.Product, p.NEVRA),
		Policy:       Descriptor{URI: "urn:albs:trust:" + b.State.State.Ledger, Digest: map[string]string{SHA256: string(v.Policy)}},

		VerificationResult: Passed, VerifiedLevels: []string{level}, SLSAVersion: slsaVersion,
	}
	for _, in := range []struct {
		suffix string
		b      []byte
	}{{EnvelopesSuffix, b.Envelopes()}, {ProofSuffix, b.Proof()}, {LogProofSuffix, b.Log}} {
		d := Descriptor{Name: p.Filename() + in.suffix, Digest: map[string]string{SHA256: string(albs.DigestOf(in.b))}}
		if v.Where != "" {
			d.URI = v.Where + in.suffix
		}
		body.InputAttestations = append(body.InputAttestations, d)
	}
	return New(Subject{Name: p.Filename(), Digest: map[string]string{
		SHA256: string(file), HeaderSHA256: string(p.HeaderSHA256), PayloadSHA256: string(p.PayloadSHA256),
	}}, VSA, body)
}

// level returns the lowest level of the builds that b tells of, as SLSA spells it: 0 if it
// tells of none, as of a source package.
func (b Bundle) level() (string, error) {
	level := 0
	for _, s := range b.Statements {
		st, err := s.Envelope.statement()
		if err != nil {
			return "", err
		}
		if st.Short() != Build {
			continue
		}
		var built BuildBody
		if err := st.Body(&built); err != nil {
			return "", err
		}
		if l := BuildLevel(built.RunDetails.Builder.ID); level == 0 || l < level {
			level = l
		}
	}
	return fmt.Sprintf("SLSA_BUILD_LEVEL_%d", level), nil
}

// resource names a package of a product, as a package URL (purl specification, type rpm):
// the same package in another product is another one.
func resource(product string, n rpm.NEVRA) string {
	s := "pkg:rpm/" + url.QueryEscape(product) + "/" + url.QueryEscape(n.Name) + "@" + url.QueryEscape(n.Version+"-"+n.Release) + "?arch=" + url.QueryEscape(n.Arch)
	if n.Epoch != 0 {
		s += "&epoch=" + strconv.Itoa(n.Epoch)
	}
	return s
}

// EncodeSummary returns the file of a summary: its envelope, and a newline.
func EncodeSummary(e Envelope) ([]byte, error) {
	b, err := e.Encode()
	return append(b, '\n'), err
}

// ParseSummary reads what EncodeSummary wrote, and nothing else. Nothing is verified. It is
// Invalid, or TooLarge.
func ParseSummary(file []byte) (Envelope, error) {
	b, whole := bytes.CutSuffix(file, []byte("\n"))
	if !whole {
		return Envelope{}, albs.Errorf(albs.Invalid, "it doesn't end with a whole line")
	}
	return ParseEnvelope(b)
}

// SummaryOf returns the digests of the files by which the summary in an envelope says that
// its package was verified, whoever signed it; none if it is no summary.
func SummaryOf(e Envelope) (of []albs.Digest) {
	st, err := e.statement()
	if err != nil || st.Short() != VSA {
		return nil
	}
	var body VSABody
	if st.Body(&body) != nil {
		return nil
	}
	for _, in := range body.InputAttestations {
		of = append(of, albs.Digest(in.Digest[SHA256]))
	}
	return of
}

// Summarized returns the statement in an envelope, and what its verifier alone knows, if
// one of keys signed it and all else in it is what Summary gives for the package p with that file in
// that product. Else it is Invalid: it is about another package, release or set of files.
func (b Bundle) Summarized(e Envelope, p *rpm.Package, file albs.Digest, product string, keys ...ed25519.PublicKey) (Statement, Verification, error) {
	st, err := e.Open(keys...)
	if err != nil {
		return st, Verification{}, err
	}
	if st.Short() != VSA {
		return st, Verification{}, albs.Errorf(albs.Invalid, "it is a %s statement and no verification summary", st.Short())
	}
	var body VSABody
	if err := st.Body(&body); err != nil {
		return st, Verification{}, err
	}
	v := Verification{Product: product, At: body.TimeVerified, Policy: albs.Digest(body.Policy.Digest[SHA256])}
	if v.At.IsZero() || !v.Policy.Valid() {
		return st, v, albs.Errorf(albs.Invalid, "the verification summary doesn't say when or by what it was verified")
	}
	if len(body.InputAttestations) > 0 {
		v.Where = strings.TrimSuffix(body.InputAttestations[0].URI, EnvelopesSuffix)
	}
	i := slices.IndexFunc(keys, func(k ed25519.PublicKey) bool { return KeyID(k) == e.Signatures[0].KeyID })
	want, err := b.Summary(p, file, keys[i], v)
	if err != nil {
		return st, v, err
	}
	if err := e.Says(want, keys[i]); err != nil {
		return st, v, albs.Errorf(albs.Invalid, "the verification summary is about another package, or other files beside it")
	}
	return st, v, nil
}

// Summarized is what a verification summary beside a package says.
type Summarized struct {
	Verifier string      `json:"verifier"`
	At       time.Time   `json:"at"`
	Policy   albs.Digest `json:"policy"` // of the trust file by which it was verified
	Level    string      `json:"level"`
}

// summarized checks the verification summary, if one lies beside the package: whoever made it
// verified this package by these very files. It is told, and stands in for nothing.
func (c *chain) summarized(b Bundle, v *rpm.Verified) error {
	if b.VSA == nil {
		return nil
	}
	e, err := ParseSummary(b.VSA)
	if err != nil {
		return broken(LinkStatement, "the verification summary can't be read: %w", err)
	}
	keys := c.trust.stated(VSA)
	if _, err := e.Open(keys...); err != nil {
		return broken(LinkStatement, "the verification summary: %w", err)
	}
	err = albs.Errorf(albs.Invalid, "there is a verification summary, and no release that it could be of")
	for _, product := range c.products {
		var st Statement
		var by Verification
		if st, by, err = b.Summarized(e, v.Package, v.FileDigest, product, keys...); err != nil {
			continue
		}
		var body VSABody
		if err := st.Body(&body); err != nil {
			return broken(LinkChain, "the verification summary: %w", err)
		}
		c.report.Summary = &Summarized{Verifier: body.Verifier.ID, At: by.At, Policy: by.Policy, Level: body.VerifiedLevels[0]}
		c.report.Steps = append(c.report.Steps, Step{Link: LinkStatement, Predicate: VSA, Text: body.String()})
		return nil
	}
	return broken(LinkChain, "%w", err)
}

// String says in a line what the summary says.
func (b VSABody) String() string {
	return "verified by " + b.Verifier.ID + " at " + b.TimeVerified.Format(time.RFC3339) + ": " + b.VerificationResult + ", " + strings.Join(b.VerifiedLevels, ", ")
}
