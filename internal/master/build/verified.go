package build

import (
	"context"

	"albs/internal/albs"
	"albs/internal/master/provenance"
)

// Source says whether an item's source is verified: whether the ledger proves that its
// commit was notarized, in its repository.
type Source struct {
	Verified bool
	SHA256   albs.Digest // of a verified commit's object, about which the statements are
	Why      string      // of one that isn't: a clause for people, with what to do
}

// Sources returns for each item of a build whether its source is verified, as of now: a
// commit may be notarized after it was built. With the ledger away none is, for that
// reason. Anyone may ask.
func (b *Builds) Sources(ctx context.Context, of Build) (map[albs.ItemID]Source, error) {
	var wanted []provenance.NamedCommit
	for _, it := range of.Items {
		if it.URL != "" {
			wanted = append(wanted, named(it.URL, it.Commit))
		}
	}
	found, err := b.provenance.Commits(ctx, wanted...)
	away := ""
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		away = "the ledger can't be asked: " + err.Error()
	}
	out := make(map[albs.ItemID]Source, len(of.Items))
	for _, it := range of.Items {
		s := found[named(it.URL, it.Commit)]
		switch {
		case it.URL == "":
			out[it.ID] = Source{Why: provenance.WhyUnverified("", "", "", "")}
		case away != "":
			out[it.ID] = Source{Why: away}
		case s.Standing == provenance.Verified:
			out[it.ID] = Source{Verified: true, SHA256: s.SHA256}
		case s.Standing == provenance.Pending:
			out[it.ID] = Source{Why: "the statement about its commit is on the way to the ledger"}
		case s.Standing == provenance.Failed:
			out[it.ID] = Source{Why: s.Trouble}
		default:
			out[it.ID] = Source{Why: provenance.WhyUnverified(it.URL, it.Ref, it.Commit, "")}
		}
	}
	return out, nil
}

func named(url, commit string) provenance.NamedCommit {
	return provenance.NamedCommit{Repository: provenance.GitURI(url), Commit: commit}
}

// notarized returns the sha256 of the object of an item's commit if it is notarized; "" if
// it isn't, or if that can't be told now, for building goes on while the ledger is away.
func (b *Builds) notarized(ctx context.Context, url, commit string) albs.Digest {
	if url == "" {
		return ""
	}
	n := named(url, commit)
	found, err := b.provenance.Commits(ctx, n)
	if err != nil {
		b.log.Warn().Err(err).Str("commit", commit).Msg("whether a commit is notarized can't be told now: records of what is built of it won't say so")
		return ""
	}
	if found[n].Standing != provenance.Verified {
		return ""
	}
	return found[n].SHA256
}
