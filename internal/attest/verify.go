package attest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/rpm"
	"albs/internal/tlog"
)

// Report is the chain of a package that was verified, link by link.
type Report struct {
	Package     string       `json:"package"` // NEVRA
	File        albs.Digest  `json:"file"`
	Fingerprint string       `json:"fingerprint"` // of the key that signed the package
	Steps       []Step       `json:"steps"`
	State       ledger.State `json:"state"`
	StateAt     time.Time    `json:"state_at"`
	Log         *LogEntry    `json:"log,omitempty"` // nil if it isn't proven to be in a public log
	// Summary is the verification summary beside the package, nil if there is none.
	Summary *Summarized `json:"summary,omitempty"`
	// Missing is what the trust file doesn't ask for and nothing proves, a clause each.
	Missing []string `json:"missing"`
	// Notes are what a reader should know though it breaks nothing, a clause each: that what
	// the package went by was taken back since.
	Notes []string `json:"notes,omitempty"`
}

// LogEntry says where a package's release is in a public log, and how many of the trusted
// witnesses have seen the log at that Size.
type LogEntry struct {
	Origin    string `json:"origin"`
	Index     uint64 `json:"index"`
	Size      uint64 `json:"size"`
	Witnesses int    `json:"witnesses"`
}

// Step is one link that holds, with a sentence for people. A statement's step
// tells where it stands in the ledger.
type Step struct {
	Link      Link            `json:"link"`
	Text      string          `json:"text"`
	Predicate string          `json:"predicate,omitempty"` // source, build, test, waiver, rebuild, sign, release or vsa
	Key       string          `json:"key,omitempty"`
	Receipt   *ledger.Receipt `json:"receipt,omitempty"`
}

// Verify checks a signed package and its bundle against trust, reads the file once,
// and needs no network. It returns the chain:
//
//	file —signature by a trusted key, header and payload digests—
//	     —sign statement→ unsigned package —build statement→ SRPM —source statement→ commit
//
// with the test and rebuild statements of the unsigned package, the release statement of
// the file and the commit statements of the commit where there are, or where the trust
// file requires them. Every statement of the bundle is signed by a trusted key of who may
// make it (Stater), proven to be in the state of the ledger that the master signed, and has
// its place in the chain. Where the bundle has a proof of the public log of releases and the
// trust file names one, the release is in it with those very statements; where it has a
// verification summary, that is of this very package and these files.
//
// A failed verification is a *BrokenLink; any other error is the reader's or ctx's.
func Verify(ctx context.Context, file io.ReaderAt, size int64, b Bundle, trust Trust) (Report, error) {
	t, err := trust.open()
	if err != nil {
		return Report{}, err
	}
	facts, err := b.facts(t)
	if err != nil {
		return Report{}, err
	}
	v, err := verifyFile(ctx, file, size, t)
	if err != nil {
		return Report{}, err
	}
	c := &chain{trust: t, facts: facts}
	c.begin(v, b)
	c.step(nil, LinkDigest, "file %s, header %s and payload %s are what signature and header say",
		v.FileDigest.Short(), v.Package.HeaderSHA256.Short(), v.Package.PayloadSHA256.Short())
	return c.follow(v, b)
}

// VerifyInstalled is Verify for an installed package, of which the database of rpm keeps
// the main header and the signatures over it (their OpenPGP packets). The file is the one
// that a sign statement of that header names; neither it nor the payload can be looked at
// any more, which the report says. A failed verification is a *BrokenLink.
func VerifyInstalled(header []byte, packets [][]byte, b Bundle, trust Trust) (Report, error) {
	t, err := trust.open()
	if err != nil {
		return Report{}, err
	}
	facts, err := b.facts(t)
	if err != nil {
		return Report{}, err
	}
	v, err := rpm.VerifyHeader(header, packets, t.packages)
	if err != nil {
		return Report{}, broken(LinkSignature, "the header is not one that a trusted key signed: %w", err)
	}
	for _, f := range facts {
		if f.predicate != Sign || f.subject().Digest[HeaderSHA256] != string(v.Package.HeaderSHA256) {
			continue
		}
		if v.FileDigest != "" && v.FileDigest != f.subject().File() {
			return Report{}, broken(LinkChain, "two sign statements are about the header, and about different files")
		}
		v.FileDigest = f.subject().File()
	}
	if v.FileDigest == "" {
		return Report{}, broken(LinkDigest, "the header has sha256 %s; no sign statement of the bundle is about it", v.Package.HeaderSHA256)
	}
	c := &chain{trust: t, facts: facts}
	c.begin(v, b)
	c.step(nil, LinkDigest, "header %s is what the signature says", v.Package.HeaderSHA256.Short())
	c.missing("the installed files were not looked at: rpm --verify compares them with the header")
	return c.follow(v, b)
}

// begin puts into the report whose chain it is.
func (c *chain) begin(v *rpm.Verified, b Bundle) {
	c.report = Report{
		Package: v.Package.NEVRA.String(), File: v.FileDigest, Fingerprint: v.Fingerprint,
		State: b.State.State, StateAt: b.State.At, Missing: []string{},
	}
	c.step(nil, LinkSignature, "the package %s is signed by key %s", v.Package.NEVRA, v.Fingerprint)
}

// follow walks the statements from the signed package v to its source and to its release.
func (c *chain) follow(v *rpm.Verified, b Bundle) (Report, error) {
	unsigned, err := c.signed(v)
	if err != nil {
		return Report{}, err
	}
	if err := c.made(unsigned, contentOf(v)); err != nil {
		return Report{}, err
	}
	if err := c.copyTested(v); err != nil {
		return Report{}, err
	}
	if err := c.released(v); err != nil {
		return Report{}, err
	}
	if err := c.billed(v.FileDigest, contentOf(v)); err != nil {
		return Report{}, err
	}
	if err := c.nothingLeft(); err != nil {
		return Report{}, err
	}
	if err := c.logged(b, v); err != nil {
		return Report{}, err
	}
	if err := c.summarized(b, v); err != nil {
		return Report{}, err
	}
	c.step(nil, LinkState, "all of it is in ledger %s as the master signed it at %s, transaction %d",
		b.State.State.Ledger, b.State.At.Format(time.RFC3339), b.State.State.TxID)
	return c.report, nil
}

// verifyFile checks the package by itself and tells a broken signature from broken
// bytes.
func verifyFile(ctx context.Context, file io.ReaderAt, size int64, t *trusted) (*rpm.Verified, error) {
	v, err := rpm.Verify(ctxReader{ctx, io.NewSectionReader(file, 0, size)}, t.packages)
	switch {
	case err == nil:
		return v, nil
	case !errors.Is(err, albs.Invalid):
		return nil, fmt.Errorf("read package: %w", err)
	}
	// rpm says what is wrong for people; the payload alone is looked at again.
	if p, perr := rpm.Read(ctxReader{ctx, io.NewSectionReader(file, 0, size)}); perr == nil && p.PayloadSHA256 != "" {
		payload := io.NewSectionReader(file, p.HeaderEnd, size-p.HeaderEnd)
		d, _, rerr := albs.DigestReader(ctxReader{ctx, payload})
		if rerr != nil {
			return nil, fmt.Errorf("read package: %w", rerr)
		}
		if d != p.PayloadSHA256 {
			return nil, broken(LinkDigest, "the payload is not the one that the header names: %w", err)
		}
	}
	return nil, broken(LinkSignature, "the package is not one that a trusted key signed: %w", err)
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// chain walks verified statements from a package to its source.
type chain struct {
	trust  *trusted
	facts  []*fact
	report Report
	// counts are the waivers of the unsigned package that count, and lapsed tells of the others.
	counts []albs.Waived
	lapsed string
	// products are those whose releases of the package are accepted.
	products []string
}

func (c *chain) step(f *fact, l Link, format string, args ...any) {
	s := Step{Link: l, Text: fmt.Sprintf(format, args...)}
	if f != nil {
		f.used = true
		s.Predicate = f.predicate
		s.Key = f.key
		s.Receipt = &f.receipt
	}
	c.report.Steps = append(c.report.Steps, s)
}

// missing puts into the report what isn't proven, once.
func (c *chain) missing(what string) {
	if !slices.Contains(c.report.Missing, what) {
		c.report.Missing = append(c.report.Missing, what)
	}
}

// note puts into the report what breaks nothing and should be known, once.
func (c *chain) note(what string) {
	if !slices.Contains(c.report.Notes, what) {
		c.report.Notes = append(c.report.Notes, what)
	}
}

// about lists the statements of a predicate about the file d.
func (c *chain) about(d albs.Digest, predicate string) []*fact {
	var out []*fact
	for _, f := range c.facts {
		if f.predicate == predicate && f.subject().File() == d {
			out = append(out, f)
		}
	}
	return out
}

// content is a package's header and payload by digest, which signing leaves alone.
type content struct{ header, payload albs.Digest }

func contentOf(v *rpm.Verified) content {
	return content{v.Package.HeaderSHA256, v.Package.PayloadSHA256}
}

// check compares the content that f tells of its subject. The zero content, that
// of a package not at hand, fits any: the package is bound by its file's digest.
func (has content) check(f *fact) error {
	told := content{albs.Digest(f.subject().Digest[HeaderSHA256]), albs.Digest(f.subject().Digest[PayloadSHA256])}
	if has != (content{}) && has != told {
		return broken(LinkChain, "%s tells of %s another header or payload than the package has", f.key, f.subject().File().Short())
	}
	return nil
}

// signed follows the sign statements from the file to the unsigned package.
func (c *chain) signed(v *rpm.Verified) (albs.Digest, error) {
	found := c.about(v.FileDigest, Sign)
	if len(found) == 0 {
		for _, f := range c.facts {
			if f.predicate == Sign {
				return "", broken(LinkDigest, "the file has sha256 %s; the bundle's sign statement is about %s", v.FileDigest, f.subject().File())
			}
		}
		return "", broken(LinkChain, "no statement says that %s was signed", v.FileDigest)
	}
	var unsigned albs.Digest
	for _, f := range found {
		var s SignBody
		if err := f.read(&s); err != nil {
			return "", err
		}
		if err := contentOf(v).check(f); err != nil {
			return "", err
		}
		switch {
		case s.Fingerprint != v.Fingerprint:
			return "", broken(LinkChain, "%s names key %.80q, but key %s signed the package", f.key, s.Fingerprint, v.Fingerprint)
		case !s.Unsigned.Valid():
			return "", broken(LinkChain, "%s doesn't name the unsigned package", f.key)
		case unsigned != "" && s.Unsigned != unsigned:
			return "", broken(LinkChain, "two statements name different unsigned packages for the file")
		}
		unsigned = s.Unsigned
		c.step(f, LinkChain, "signed with key %s; unsigned it was %s", s.Fingerprint, unsigned.Short())
	}
	return unsigned, nil
}

// made follows what made an unsigned package: a source package has source
// statements of its own and was not built from another one, nor tested.
func (c *chain) made(unsigned albs.Digest, has content) error {
	if err := c.billed(unsigned, has); err != nil {
		return err
	}
	sources := c.about(unsigned, Source)
	if len(sources) == 0 {
		return c.built(unsigned, has)
	}
	for _, f := range sources {
		if err := has.check(f); err != nil {
			return err
		}
	}
	return c.sourced(unsigned, "")
}

// built follows test, rebuild and build statements of an unsigned package, and the source
// statements of what it was built from.
func (c *chain) built(unsigned albs.Digest, has content) error {
	if err := c.tested(unsigned, has); err != nil {
		return err
	}
	if err := c.rebuilt(unsigned, has); err != nil {
		return err
	}
	found := c.about(unsigned, Build)
	if len(found) == 0 {
		return broken(LinkChain, "no statement says how %s was built", unsigned)
	}
	for _, f := range found {
		var b BuildBody
		if err := f.read(&b); err != nil {
			return err
		}
		if err := has.check(f); err != nil {
			return err
		}
		if b.BuildDefinition.BuildType != BuildType {
			return broken(LinkChain, "%s is of the buildType %.80q", f.key, b.BuildDefinition.BuildType)
		}
		srpm, commit, err := inputs(f, b)
		if err != nil {
			return err
		}
		if err := c.trust.acceptsBuilder(b.RunDetails.Builder.ID); err != nil {
			return err
		}
		params := b.BuildDefinition.ExternalParameters
		c.step(f, LinkChain, "built by %s for %s %s from source package %s", b.RunDetails.Builder.ID, params.Platform, params.Arch, srpm.Short())
		if err := c.sourced(srpm, commit); err != nil {
			return err
		}
	}
	return nil
}

// inputs returns the source package that a build names, exactly one, and its git
// commit, or "" if it names none.
func inputs(f *fact, b BuildBody) (srpm albs.Digest, commit string, err error) {
	for _, r := range b.BuildDefinition.ResolvedDependencies {
		if r.Name == DependencySRPM {
			d := albs.Digest(r.Digest[SHA256])
			if !d.Valid() || srpm != "" {
				return "", "", broken(LinkChain, "%s doesn't name one source package by its sha256", f.key)
			}
			srpm = d
		}
		if g, ok := r.Digest[GitCommit]; ok {
			if !validCommit(g) || commit != "" {
				return "", "", broken(LinkChain, "%s doesn't name one commit in full", f.key)
			}
			commit = g
		}
	}
	if srpm == "" {
		return "", "", broken(LinkChain, "%s names no source package", f.key)
	}
	return srpm, commit, nil
}

func validCommit(s string) bool {
	return len(s) == 40 && albs.Digest(s+strings.Repeat("0", 24)).Valid() || albs.Digest(s).Valid()
}

// tested looks at the newest test statement of an unsigned package for each root
// that it was tested in.
func (c *chain) tested(unsigned albs.Digest, has content) error {
	waivers, lapsed, err := c.waived(unsigned, has)
	if err != nil {
		return err
	}
	if c.counts, c.lapsed = waivers, ""; len(lapsed) > 0 {
		c.lapsed = ", and " + strings.Join(lapsed, "; ")
	}
	n, err := c.passed(unsigned, has, "tested")
	if err != nil || n > 0 {
		return err
	}
	if c.trust.RequireTest && !slices.ContainsFunc(waivers, func(w albs.Waived) bool { return w.Untested }) {
		return broken(LinkChain, "no statement says that %s was tested%s", unsigned, c.lapsed)
	}
	c.missing("no statement says that it was tested")
	return nil
}

// copyTested looks at those of the signed file, which was installed with its signature checked
// as readers do. That none says so is no word against it, for the signature is checked
// here too; a waiver that counts is one of the unsigned package.
func (c *chain) copyTested(v *rpm.Verified) error {
	_, err := c.passed(v.FileDigest, contentOf(v), "the signed copy was tested")
	return err
}

// passed tells of the newest test statement of a package for each root, and returns how many
// there are. One that failed breaks the chain if trust requires tests and the waivers of the
// unsigned package don't let it fail.
func (c *chain) passed(d albs.Digest, has content, what string) (int, error) {
	type told struct {
		*fact
		body TestBody
	}
	last := map[string]told{}
	for _, f := range c.about(d, Test) {
		if err := has.check(f); err != nil {
			return 0, err
		}
		var body TestBody
		if err := f.read(&body); err != nil {
			return 0, err
		}
		f.used = true
		if before, ok := last[body.Root()]; !ok || f.n > before.n {
			last[body.Root()] = told{f, body}
		}
	}
	for _, root := range slices.Sorted(maps.Keys(last)) {
		t, where := last[root], ""
		if root != "" {
			where = " in " + root
		}
		switch {
		case t.body.Result == Passed:
			c.step(t.fact, LinkChain, "%s: %d tests passed%s", what, len(t.body.PassedTests), where)
		case t.body.Result == Warned:
			c.step(t.fact, LinkChain, "%s: %d tests passed%s, and %d failed that need not pass", what, len(t.body.PassedTests), where, len(t.body.WarnedTests))
		case t.body.Result == Failed && t.body.waived(c.counts):
			c.step(t.fact, LinkChain, "%s: %d tests FAILED%s, which is waived", what, len(t.body.FailedTests), where)
		case t.body.Result == Failed && !c.trust.RequireTest:
			// Said, and not hidden: the trust file leaves it to the reader.
			c.step(t.fact, LinkChain, "%s: %d tests FAILED%s, which the trust file allows", what, len(t.body.FailedTests), where)
		default:
			return 0, broken(LinkChain, "%s says that the test of %s%s ended %.20q%s", t.key, d.Short(), where, t.body.Result, c.lapsed)
		}
	}
	return len(last), nil
}

// sourced looks at the source statements of a source package. If the build names a
// commit, one of them must say that the package was made from it.
func (c *chain) sourced(srpm albs.Digest, commit string) error {
	found := c.about(srpm, Source)
	if len(found) == 0 {
		return broken(LinkChain, "no statement says where source package %s came from", srpm)
	}
	named, notarized := commit == "", false
	for _, f := range found {
		var s SourceBody
		if err := f.read(&s); err != nil {
			return err
		}
		git := s.Repository != "" && validCommit(s.Commit)
		upload := s.Repository == "" && s.Commit == "" && s.Uploader != ""
		if !git && !upload {
			return broken(LinkChain, "%s names neither a commit of a repository nor an uploader", f.key)
		}
		named = named || s.Commit == commit
		switch {
		case f.used: // another build of the same source package
			notarized = true // or that build had been refused
		case git:
			c.step(f, LinkChain, "source package made from commit %s of %s", s.Commit, s.Repository)
			told, err := c.committed(s)
			if err != nil {
				return err
			}
			notarized = notarized || told
		case s.URL != "":
			c.step(f, LinkChain, "source package fetched from %s for %s", s.URL, s.Uploader)
		default:
			c.step(f, LinkChain, "source package uploaded by %s", s.Uploader)
		}
	}
	if !named {
		return broken(LinkChain, "the build names commit %s, but no statement says that source package %s was made from it", commit, srpm.Short())
	}
	if !notarized {
		if c.trust.RequireCommit {
			return broken(LinkChain, "no statement says that a commit was notarized from which source package %s came", srpm.Short())
		}
		c.missing("no statement says that the commit of its source was notarized")
	}
	return nil
}

// released looks at the release statements of the signed file.
func (c *chain) released(v *rpm.Verified) error {
	found := c.about(v.FileDigest, Release)
	if len(found) == 0 {
		if c.trust.RequireRelease {
			return broken(LinkChain, "no statement says that %s was released", v.FileDigest)
		}
		c.missing("no statement says that it was released")
		return nil
	}
	var refused error
	accepted := false
	for _, f := range found {
		var r ReleaseBody
		if err := f.read(&r); err != nil {
			return err
		}
		if err := contentOf(v).check(f); err != nil {
			return err
		}
		// Products may share a package: what others do with it is in nobody's way.
		if err := c.trust.acceptsProduct(r.Product); err != nil {
			refused, f.used = err, true
			continue
		}
		accepted = true
		c.products = append(c.products, r.Product)
		c.step(f, LinkChain, "released in %s by release %d, tree %d", r.Product, r.Release, r.Serial)
	}
	if !accepted {
		return refused
	}
	return nil
}

// logged checks the proof that the release is in a public log.
func (c *chain) logged(b Bundle, v *rpm.Verified) error {
	switch {
	case b.Log == nil && c.trust.RequireLog:
		return broken(LinkLog, "nothing proves that it is in the public log of releases, which the trust file asks for")
	case b.Log == nil:
		c.missing("nothing proves that it is in a public log of releases")
		return nil
	case c.trust.Log == nil:
		c.missing("it has a proof of a public log of releases, but the trust file names none to check that against")
		return nil
	}
	leaf, err := b.Leaf(v.Package, v.FileDigest)
	if err != nil {
		return broken(LinkLog, "%w", err)
	}
	in, err := tlog.Verify(b.Log, leaf.Encode(), *c.trust.Log)
	if err != nil {
		return broken(LinkLog, "%w", err)
	}
	c.report.Log = &LogEntry{Origin: in.Origin, Index: in.Index, Size: in.Size, Witnesses: in.Witnesses}
	c.step(nil, LinkLog, "its release is number %d of the %d in the public log %s, as %d trusted witnesses have seen it", in.Index, in.Size, in.Origin, in.Witnesses)
	return nil
}

// nothingLeft refuses statements that have nothing to do with what was asked.
func (c *chain) nothingLeft() error {
	for _, f := range c.facts {
		if !f.used {
			return broken(LinkChain, "%s has no place in the chain", f.key)
		}
	}
	return nil
}
