package publish

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/errata"
	"albs/internal/master/release"
	"albs/internal/rpm"
)

// spot is where a product holds a package, and what it is there.
type spot struct {
	repository string
	arch       albs.Arch // of the repository
	digest     albs.Digest
}

// holdings returns where the repositories of a platform hold packages after the plan.
func (p *Publisher) holdings(ctx context.Context, a release.Ask, platform string) (map[rpm.NEVRA][]spot, error) {
	out := map[rpm.NEVRA][]spot{}
	for _, r := range a.Product.Repositories {
		if r.Platform != platform {
			continue
		}
		held, err := a.Holds(ctx, r.Path)
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			out[h.NEVRA] = append(out[h.NEVRA], spot{r.Path, r.Arch, h.Digest})
		}
	}
	return out, nil
}

// issue returns an advisory as it is to be published now, or why it can't be: the end of a
// sentence that begins with it. was is what is shown of it; nil is nothing.
func (p *Publisher) issue(ctx context.Context, a release.Ask, k errata.Key, force string, was *advisory.Advisory, where map[rpm.NEVRA][]spot) (issue, string, error) {
	rec, err := p.Errata.Get(ctx, k)
	if err != nil {
		return issue{}, "", err
	}
	i := issue{Advisory: rec.Advisory, content: rec.Content}
	if i.Withdrawn != nil {
		if was == nil {
			return i, "was withdrawn and product " + a.Product.Name + " doesn't show it: there is nothing to take back", nil
		}
		i.Packages = was.Packages
	} else {
		answers, lacks, err := p.Answers.Chosen(ctx, k)
		if err != nil {
			return i, "", err
		}
		var missing []missing
		if i.Packages, missing, err = p.packages(ctx, rec.Advisory, answers, lacks, where); err != nil {
			return i, "", err
		}
		switch {
		case len(missing) > 0 && force == "":
			return i, "can't be released as it is: " + reasons(missing), nil
		case len(i.Packages) == 0:
			return i, "names no package that the product has", nil
		case len(missing) > 0:
			i.force = force
			for _, m := range missing {
				i.missing = append(i.missing, m.what.String())
			}
		}
	}
	date(&i.Advisory, a.At, was)
	i.Advisory = i.Normal()
	if err := i.Check(); err != nil {
		return i, "can't be released: " + err.Error(), nil
	}
	if was != nil && same(i.Advisory, *was) {
		return i, "is shown already as it is", nil
	}
	return i, "", nil
}

// date gives an advisory the time at which it is published, later than that of the version
// before.
func date(a *advisory.Advisory, at time.Time, was *advisory.Advisory) {
	a.Updated = at
	if was != nil && !a.Updated.After(was.Updated) {
		a.Updated = was.Updated.Add(time.Second)
	}
	if a.Updated.Before(a.Issued) {
		a.Updated = a.Issued
	}
}

// same reports whether two versions tell the same.
func same(a, b advisory.Advisory) bool {
	a.Version, a.Updated = b.Version, b.Updated
	return slices.Equal(a.Encode(), b.Encode())
}

// missing is something that an advisory should name and can't.
type missing struct {
	what rpm.NEVRA // that is wanted
	why  string
}

func reasons(all []missing) string {
	var out []string
	for _, m := range all {
		out = append(out, m.what.String()+" "+m.why)
	}
	if n := len(out) - maxListed; n > 0 {
		out = append(out[:maxListed], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, "; ")
}

// packages returns the packages that a notice names once it is published: those that answer
// what it wants, as every repository of the platform holds them, and what is missing.
func (p *Publisher) packages(ctx context.Context, notice advisory.Advisory, answers []Answer, lacks []Lack, where map[rpm.NEVRA][]spot) ([]advisory.Package, []missing, error) {
	var out []advisory.Package
	var lack []missing
	for _, l := range lacks {
		lack = append(lack, missing{l.Wanted, "has no answer that was approved" + because(l.Why)})
	}
	wanted := make(map[rpm.NEVRA]advisory.Package, len(notice.Packages))
	for _, w := range notice.Packages {
		wanted[w.NEVRA] = w
	}
	seen := map[spot]bool{}
	for _, n := range answers {
		what := n.Wanted
		if what == (rpm.NEVRA{}) {
			what = n.NEVRA
		}
		spots := where[n.NEVRA]
		if len(spots) == 0 {
			lack = append(lack, missing{what, fmt.Sprintf("is answered by %s, which no repository of the product will have: release it together with the advisory", n.NEVRA)})
			continue
		}
		for _, at := range spots {
			q, why, err := p.signed(ctx, n, at)
			if err != nil {
				return nil, nil, err
			}
			if why != "" {
				lack = append(lack, missing{what, why})
				continue
			}
			w := wanted[n.Wanted]
			q.Reboot, q.Relogin, q.Restart = w.Reboot, w.Relogin, w.Restart
			if !seen[at] {
				out = append(out, q)
			}
			seen[at] = true
		}
	}
	slices.SortFunc(lack, func(x, y missing) int {
		return cmp.Or(strings.Compare(x.what.String(), y.what.String()), strings.Compare(x.why, y.why))
	})
	return out, slices.Compact(lack), nil
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// signed returns a package as a repository holds it, or why it isn't the one that was
// chosen. A noarch or multilib package stays the copy that was released first, whichever
// arch's build made it; so of those any copy counts that is signed.
func (p *Publisher) signed(ctx context.Context, n Answer, at spot) (advisory.Package, string, error) {
	h, err := p.Artifacts.Get(ctx, p.DB, at.digest)
	if err != nil {
		return advisory.Package{}, "", err
	}
	q := advisory.Package{NEVRA: n.NEVRA, Source: h.SourceRPM, Repository: at.repository, Digest: at.digest}
	switch {
	case h.SignedBy == "":
		return q, fmt.Sprintf("is answered by %s, which isn't signed in %s", n.NEVRA, at.repository), nil
	case n.Unsigned != "" && h.Unsigned != n.Unsigned && h.NEVRA.Arch != string(albs.Noarch):
		return q, fmt.Sprintf("is answered by %s of another build than that in %s: match that one", n.NEVRA, at.repository), nil
	}
	if h.Kind == artifact.SRPM {
		q.Source = ""
	}
	head, err := p.Artifacts.Package(ctx, at.digest)
	if err != nil {
		return q, "", err
	}
	if head.Modularity != "" {
		m, ok := advisory.ParseModule(head.Modularity)
		if !ok {
			return q, fmt.Sprintf("is answered by %s, whose header has %.100q as its module", n.NEVRA, head.Modularity), nil
		}
		m.Arch = string(at.arch)
		q.Module = &m
	}
	return q, "", nil
}
