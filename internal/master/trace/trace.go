// Package trace follows a package, an SRPM or a commit through all that was said of it:
// from any of their names to the others, forward to where it was published and back to
// where it came from.
//
// Rows of the database only lead to what may be related. What is related, a statement
// says, and each is shown with its standing: proven a moment ago, on its way to the
// ledger, contradicted by it, or missing where there should be one. So a gap shows as a
// gap. The package owns nothing and decides nothing.
package trace

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/provenance"
	"albs/internal/rpm"
)

// Kind is what a node stands for.
type Kind string

// The kinds of nodes, from the source to the public.
const (
	Commit     Kind = "commit"     // of git
	Upload     Kind = "upload"     // a person who gave an SRPM
	SRPM       Kind = "srpm"       // a source package
	Package    Kind = "package"    // a package as it was built
	Signed     Kind = "signed"     // a signed copy of it
	Repository Kind = "repository" // a product's repository at a serial
	Other      Kind = "file"       // any other file
)

// kinds is their order.
var kinds = []Kind{Commit, Upload, SRPM, Other, Package, Signed, Repository}

// Node is a thing that the trace comes by.
type Node struct {
	ID   string `json:"id"` // names it in the trace's links
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // for people: a file's name, a commit with its URL
	// SHA256 is of a file, whose NEVRA is told if it is a package, and the Key of a
	// signed one.
	SHA256 albs.Digest `json:"sha256,omitempty"`
	NEVRA  string      `json:"nevra,omitempty"`
	Key    string      `json:"key,omitempty"`
	// Record is the standing of the ledger's record of a file.
	Record  provenance.Standing `json:"record,omitempty"`
	Trouble string              `json:"trouble,omitempty"`
	// Asked tells that it is what was asked for.
	Asked bool `json:"asked,omitempty"`
}

// Link is a statement between two nodes, or about one (then From is ""), or the lack of
// one.
type Link struct {
	From     string              `json:"from,omitempty"`
	To       string              `json:"to"`
	Says     string              `json:"says"` // the predicate's short name
	Standing provenance.Standing `json:"standing"`
	Trouble  string              `json:"trouble,omitempty"`
	Text     string              `json:"text"` // for people
	At       time.Time           `json:"at,omitzero"`
	Receipt  *ledger.Receipt     `json:"receipt,omitempty"`
	// Statement is what the master signed; nil of one that is missing or contradicted.
	Statement *attest.Statement `json:"statement,omitempty"`
}

// Trace is what was found.
type Trace struct {
	Asked string `json:"asked"`
	Nodes []Node `json:"nodes"` // from the sources to the repositories
	Links []Link `json:"links"` // in the order of the nodes that they lead to
	// Whole tells that every link is verified, and every file's record.
	Whole bool `json:"whole"`
	// Cut tells that more is related than the nodes that are shown.
	Cut bool `json:"cut"`
}

// maxNodes bounds a trace.
const maxNodes = 300

// Builds tell what was made of what, by rows that a statement has to confirm;
// build.Builds is it.
type Builds interface {
	// OfCommit returns at most limit SRPMs that were made of a git commit.
	OfCommit(ctx context.Context, commit string, limit int) ([]albs.Digest, error)
	// OfSRPM returns at most limit packages that were made of an SRPM.
	OfSRPM(ctx context.Context, srpm albs.Digest, limit int) ([]albs.Digest, error)
}

// Parts are the modules that are asked. All are required.
type Parts struct {
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Builds     Builds
}

// Traces answers. It may be used concurrently.
type Traces struct{ Parts }

// New returns the traces over p.
func New(p Parts) *Traces { return &Traces{p} }

var commit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Of traces what: the sha256 of a file, a git commit, or the NEVRA of a package (its file
// name will do). Anyone may ask. NotFound if nothing is known of it, Invalid if it is no
// such name; Unavailable or Conflict if the ledger can't be asked, or isn't the one that
// is remembered.
func (t *Traces) Of(ctx context.Context, what string) (Trace, error) {
	w := &walk{Traces: t, nodes: map[string]*Node{}, seen: map[string]bool{}}
	if err := w.start(ctx, what); err != nil {
		return Trace{}, err
	}
	return w.trace(what), nil
}

// walk is the making of one trace.
type walk struct {
	*Traces
	nodes map[string]*Node
	order []string
	links []Link
	seen  map[string]bool // files and commits that were examined
	cut   bool
}

func (w *walk) start(ctx context.Context, what string) error {
	if commit.MatchString(what) {
		srpms, err := w.Builds.OfCommit(ctx, what, maxNodes)
		if err != nil {
			return err
		}
		for _, d := range srpms {
			if err := w.both(ctx, d); err != nil {
				return err
			}
		}
		n, ok := w.nodes[what]
		if !ok {
			if err := w.notarized(ctx, what); err != nil {
				return err
			}
			if n, ok = w.nodes[what]; !ok {
				return albs.Errorf(albs.NotFound, "commit %s is not notarized, and no build was made of it", what)
			}
		}
		n.Asked = true
		return nil
	}
	if d, err := albs.ParseDigest(what); err == nil {
		if _, err := w.Artifacts.Find(ctx, d); err != nil {
			return err
		}
		return w.ask(ctx, d)
	}
	n, err := rpm.ParseNEVRA(strings.TrimSuffix(what, ".rpm"))
	if err != nil {
		return albs.Errorf(albs.Invalid, "%.100q is neither the sha256 of a file, nor a git commit, nor the NEVRA of a package", what)
	}
	found, err := w.Artifacts.Named(ctx, n, maxNodes)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return albs.Errorf(albs.NotFound, "there is no package %s", n)
	}
	for _, a := range found {
		if err := w.ask(ctx, a.Digest); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) ask(ctx context.Context, d albs.Digest) error {
	if err := w.both(ctx, d); err != nil {
		return err
	}
	if n := w.nodes[string(d)]; n != nil {
		n.Asked = true
	}
	return nil
}

// both follows a file back to its sources and forward to what was made of it.
func (w *walk) both(ctx context.Context, d albs.Digest) error {
	if err := w.back(ctx, d); err != nil {
		return err
	}
	return w.forward(ctx, d)
}

// back examines a file and what it was made from.
func (w *walk) back(ctx context.Context, d albs.Digest) error {
	from, err := w.examine(ctx, d)
	if err != nil {
		return err
	}
	for _, d := range from {
		if err := w.back(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// forward examines what was made of a file.
func (w *walk) forward(ctx context.Context, d albs.Digest) error {
	a, err := w.Artifacts.Find(ctx, d)
	if errors.Is(err, albs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var next []albs.Digest
	switch {
	case a.Kind == artifact.SRPM:
		if next, err = w.Builds.OfSRPM(ctx, d, maxNodes); err != nil {
			return err
		}
	case a.Kind == artifact.RPM && a.Unsigned == "":
		copies, err := w.Artifacts.Copies(ctx, d)
		if err != nil {
			return err
		}
		for _, c := range copies {
			next = append(next, c.Digest)
		}
	}
	for _, d := range next {
		if _, err := w.examine(ctx, d); err != nil {
			return err
		}
		if err := w.forward(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// add adds a node unless it is there, and reports whether there is room for it.
func (w *walk) add(n Node) bool {
	if w.nodes[n.ID] != nil {
		return true
	}
	if len(w.nodes) == maxNodes {
		w.cut = true
		return false
	}
	w.nodes[n.ID] = &n
	w.order = append(w.order, n.ID)
	return true
}

// wanted are the statements that a file of a kind should have.
var wanted = map[Kind][]string{SRPM: {attest.Source}, Package: {attest.Build, attest.Test}, Signed: {attest.Sign}}

// examine adds a file with all that is said of it, and returns what it was made from.
func (w *walk) examine(ctx context.Context, d albs.Digest) (from []albs.Digest, err error) {
	if w.seen[string(d)] {
		return nil, nil
	}
	w.seen[string(d)] = true
	n, err := w.node(ctx, d)
	if err != nil {
		return nil, err
	}
	e, err := w.Provenance.Examine(ctx, d)
	if err != nil {
		return nil, err
	}
	n.Record, n.Trouble = e.Record, e.Trouble
	if !w.add(n) {
		return nil, nil
	}
	said := map[string]bool{}
	for _, s := range e.Statements {
		said[s.Predicate] = true
		made, err := w.link(ctx, n, s)
		if err != nil {
			return nil, fmt.Errorf("%s %d about %s: %w", s.Predicate, s.N, d.Short(), err)
		}
		if made != "" {
			from = append(from, made)
		}
	}
	for _, predicate := range wanted[n.Kind] {
		if !said[predicate] {
			w.links = append(w.links, Link{To: n.ID, Says: predicate, Standing: provenance.Missing, Text: lacks[predicate]})
		}
	}
	return from, nil
}

var lacks = map[string]string{
	attest.Source: "nothing says where it came from", attest.Build: "nothing says how it was built",
	attest.Test: "nothing says that it was tested", attest.Sign: "nothing says why it was signed",
}

func (w *walk) node(ctx context.Context, d albs.Digest) (Node, error) {
	n := Node{ID: string(d), Kind: Other, Name: d.Short(), SHA256: d}
	a, err := w.Artifacts.Find(ctx, d)
	if errors.Is(err, albs.NotFound) { // a statement names it, and it is gone
		return n, nil
	}
	if err != nil {
		return n, err
	}
	n.Name = a.Name
	switch {
	case a.Kind == artifact.SRPM:
		n.Kind = SRPM
	case a.Kind == artifact.RPM && a.Unsigned == "":
		n.Kind = Package
	case a.Kind == artifact.RPM:
		n.Kind, n.Key = Signed, a.SignedBy
	default:
		return n, nil
	}
	n.NEVRA = a.NEVRA.String()
	return n, nil
}

// link adds what a statement about n says, and returns the file that n was made from.
func (w *walk) link(ctx context.Context, n Node, s provenance.Examined) (from albs.Digest, err error) {
	l := Link{To: n.ID, Says: s.Predicate, Standing: s.Standing, Trouble: s.Trouble, At: s.At, Receipt: s.Receipt, Text: s.Predicate}
	if s.Standing == provenance.Failed {
		w.links = append(w.links, l)
		return "", nil
	}
	l.Statement = &s.Statement
	switch s.Predicate {
	case attest.Source:
		var b attest.SourceBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		source := sourceNode(b)
		if w.add(source) {
			l.From = source.ID
			if b.Commit != "" {
				if err := w.commit(ctx, b.Repository, b.Ref, b.Commit); err != nil {
					return "", err
				}
			}
		}
		l.Text = "made into a source package"
	case attest.Build:
		var b attest.BuildBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		for _, r := range b.BuildDefinition.ResolvedDependencies {
			if r.Name == attest.DependencySRPM {
				from = albs.Digest(r.Digest[attest.SHA256])
				l.From = string(from)
			}
		}
		l.Text = fmt.Sprintf("built for %s by %s on node %s", b.BuildDefinition.ExternalParameters.Platform, b.RunDetails.Builder.ID, b.BuildDefinition.InternalParameters.Node)
	case attest.Test:
		var b attest.TestBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		l.Text = fmt.Sprintf("tests %s: %d passed, %d failed", strings.ToLower(b.Result), len(b.PassedTests), len(b.FailedTests)+len(b.WarnedTests))
	case attest.Waiver:
		var b attest.WaiverBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		if l.Text = b.String(); b.EndedBy != "" {
			l.Text = b.End()
		}
	case attest.Rebuild:
		var b attest.RebuildBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		l.Text = b.String()
	case attest.Sign:
		var b attest.SignBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		from, l.From = b.Unsigned, string(b.Unsigned)
		l.Text = fmt.Sprintf("signed with key %s for %s", b.Fingerprint, b.Requester)
	case attest.VSA:
		var b attest.VSABody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		l.Text = b.String()
	case attest.SBOM:
		var b attest.SBOMBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		var formats []string
		for _, d := range b.Documents {
			formats = append(formats, d.Name)
		}
		l.Text = "has a bill of materials: " + strings.Join(formats, ", ")
	case attest.Advisory:
		var b attest.AdvisoryBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		l.Text = fmt.Sprintf("is version %d of advisory %s of %s, published by release %d", b.Version, b.ID, b.Platform, b.Release)
	case attest.Release:
		var b attest.ReleaseBody
		if err := s.Statement.Body(&b); err != nil {
			return "", err
		}
		return "", w.release(n, l, b)
	}
	w.links = append(w.links, l)
	return from, nil
}

// commit links what is said of the commit of a source, whose node is there, and of the
// commit that it changes.
func (w *walk) commit(ctx context.Context, repository, ref, id string) error {
	at := repository + " " + id
	if w.seen[at] {
		return nil
	}
	w.seen[at] = true
	said, err := w.Provenance.ExamineCommit(ctx, repository, id)
	if err != nil {
		return fmt.Errorf("commit %.40s: %w", id, err)
	}
	if len(said) == 0 {
		w.links = append(w.links, Link{To: id, Says: attest.Commit, Standing: provenance.Missing, Text: provenance.WhyUnverified(strings.TrimPrefix(repository, "git+"), ref, id, "")})
		return nil
	}
	for _, s := range said {
		if err := w.committed(ctx, id, s); err != nil {
			return fmt.Errorf("%s %d about %.40s: %w", s.Predicate, s.N, id, err)
		}
	}
	return nil
}

// committed adds one statement about a commit.
func (w *walk) committed(ctx context.Context, id string, s provenance.Examined) error {
	l := Link{To: id, Says: s.Predicate, Standing: s.Standing, Trouble: s.Trouble, At: s.At, Receipt: s.Receipt, Text: s.Predicate}
	if s.Standing == provenance.Failed {
		w.links = append(w.links, l)
		return nil
	}
	l.Statement = &s.Statement
	var b attest.CommitBody
	if err := s.Statement.Body(&b); err != nil {
		return err
	}
	l.Text = fmt.Sprintf("notarized in %s for %s", b.Ref, b.Requester)
	if b.Rewritten {
		l.Text += fmt.Sprintf(", after its history was rewritten: it named %.12s before", b.Previous)
	}
	if b.WithoutUpstream != "" {
		l.Text += fmt.Sprintf(", without %s, which it changes and which was not notarized", b.WithoutUpstream)
	}
	if u := b.Upstream; u != nil {
		l.Text += ", changed from " + u.Ref
		if w.add(commitNode(u.Repository, u.Ref, u.Commit)) {
			l.From = u.Commit
			if err := w.commit(ctx, u.Repository, u.Ref, u.Commit); err != nil {
				return err
			}
		}
	}
	w.links = append(w.links, l)
	return nil
}

// notarized adds a commit of which no build was made, if it is notarized in some
// repository.
func (w *walk) notarized(ctx context.Context, id string) error {
	said, err := w.Provenance.ExamineCommit(ctx, "", id)
	if err != nil {
		return fmt.Errorf("commit %.40s: %w", id, err)
	}
	for _, s := range said {
		var b attest.CommitBody
		if s.Standing == provenance.Failed {
			b.Ref = "of a repository that can't be told"
		} else if err := s.Statement.Body(&b); err != nil {
			return err
		}
		if !w.add(commitNode(b.Repository, b.Ref, id)) {
			return nil
		}
		if err := w.committed(ctx, id, s); err != nil {
			return err
		}
	}
	return nil
}

// release links a signed package to each repository that it was published in.
func (w *walk) release(n Node, l Link, b attest.ReleaseBody) error {
	var people []string
	for _, a := range b.Approvals {
		people = append(people, a.Person)
	}
	l.From, l.Text = n.ID, fmt.Sprintf("published by release %d, approved by %s", b.Release, strings.Join(people, ", "))
	for _, path := range b.Repositories {
		r := Node{ID: fmt.Sprintf("%s/%s@%d", b.Product, path, b.Serial), Kind: Repository, Name: fmt.Sprintf("%s/%s at serial %d", b.Product, path, b.Serial)}
		if l.To = r.ID; w.add(r) {
			w.links = append(w.links, l)
		}
	}
	return nil
}

// sourceNode is the commit that an SRPM was made from, or who uploaded it.
func sourceNode(b attest.SourceBody) Node {
	if b.Commit == "" {
		name := "upload by " + b.Uploader
		if b.URL != "" {
			name += " from " + b.URL
		}
		return Node{ID: name, Kind: Upload, Name: name}
	}
	return commitNode(b.Repository, b.Ref, b.Commit)
}

func commitNode(repository, ref, id string) Node {
	return Node{ID: id, Kind: Commit, Name: fmt.Sprintf("%s at %s (%s)", strings.TrimPrefix(repository, "git+"), id[:min(12, len(id))], ref)}
}

// trace sorts what was found.
func (w *walk) trace(what string) Trace {
	out := Trace{Asked: what, Cut: w.cut, Whole: !w.cut, Nodes: []Node{}, Links: []Link{}}
	into := map[string][]Link{}
	for _, l := range w.links {
		if w.nodes[l.From] == nil {
			l.From = "" // it is beyond the bound, or gone
		}
		into[l.To] = append(into[l.To], l)
		out.Whole = out.Whole && l.Standing == provenance.Verified
	}
	for _, k := range kinds {
		for _, id := range w.order {
			n := w.nodes[id]
			if n.Kind != k {
				continue
			}
			out.Nodes = append(out.Nodes, *n)
			out.Links = append(out.Links, into[id]...)
			out.Whole = out.Whole && (n.Record == "" || n.Record == provenance.Verified)
		}
	}
	return out
}
