package trust

import (
	"net/http"
	"strconv"

	"albs/internal/albs"
	"albs/internal/master/provenance"
	"albs/internal/master/source/notary"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// Sizes of the page of a repository's sources.
const (
	perPage  = 100 // commits, or repositories
	shownRef = 20  // what refs named, the newest ones
	maxURL   = 2048
)

// sourceView are repositories of which commits are notarized, or one of them.
type sourceView struct {
	Repositories []notary.Repository
	URL          string // "" where repositories are listed
	Commits      []commit
	Refs         []notary.RefState
	More         string // the address of the next page
}

type commit struct {
	notary.Commit
	Standing provenance.Standing
}

// sourcePage lists repositories, or with ?repository= what is notarized of one.
func (u *Pages) sourcePage(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	v := sourceView{URL: q.Get("repository")}
	if len(v.URL) > maxURL || len(q.Get("after")) > maxURL {
		return albs.Errorf(albs.Invalid, "a URL has at most %d bytes", maxURL)
	}
	var err error
	if v.URL == "" {
		if v.Repositories, err = u.Notary.Repositories(ctx, q.Get("after"), perPage); err != nil {
			return err
		}
		if len(v.Repositories) == perPage {
			v.More = page.With(r.URL, "after", v.Repositories[perPage-1].URL)
		}
		return u.Render(w, r, http.StatusOK, "trust/source", page.Page{Title: "Notarized sources", Body: v})
	}
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	list, err := u.Notary.Commits(ctx, v.URL, before, perPage)
	if err != nil {
		return err
	}
	if len(list) == perPage {
		v.More = page.With(r.URL, "before", strconv.FormatInt(list[perPage-1].ID, 10))
	}
	names := make([]provenance.NamedCommit, len(list))
	for i, c := range list {
		names[i] = provenance.NamedCommit{Repository: provenance.GitURI(c.Repository), Commit: c.Commit}
	}
	found, err := u.Provenance.Commits(ctx, names...)
	if err != nil {
		return err
	}
	for i, c := range list {
		v.Commits = append(v.Commits, commit{c, found[names[i]].Standing})
	}
	if v.Refs, err = u.Notary.Refs(ctx, v.URL, "", 0, shownRef); err != nil {
		return err
	}
	return u.Render(w, r, http.StatusOK, "trust/source", page.Page{Title: "Sources of " + words.Inert(words.Cut(v.URL, 80)), Body: v})
}
