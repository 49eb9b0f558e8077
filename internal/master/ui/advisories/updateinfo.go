package advisories

import (
	"net/http"
	"slices"
	"strconv"

	"albs/internal/advisory"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/ui/page"
	"albs/internal/repodata/updateinfo"
)

// maxXML is how many bytes of XML the page shows of one repository.
const maxXML = 256 << 10

type updateinfoView struct {
	errata.Key
	Path    string
	Version int // 0 is what would be released by now
	Issues  []errata.Issue
	Notices []noticeView
}

// noticeView is the advisory in the updateinfo of one repository.
type noticeView struct {
	Repository string
	XML        string
	Cut        bool
}

// updateinfoPage shows an advisory as updateinfo.xml has it: a version that was published,
// or what would be by now.
func (u *Pages) updateinfoPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rec, _, err := u.recordOf(r)
	if err != nil {
		return err
	}
	v := updateinfoView{Key: rec.Key, Path: path(rec.Key)}
	if v.Issues, err = u.Errata.Issues(ctx, rec.Key); err != nil {
		return err
	}
	a := rec.Advisory
	if s := r.URL.Query().Get("version"); s != "" {
		if v.Version, err = strconv.Atoi(s); err != nil || v.Version < 1 {
			return albs.Errorf(albs.Invalid, "that is no version of an advisory")
		}
		i, err := u.Errata.Issue(ctx, rec.Key, v.Version)
		if err != nil {
			return err
		}
		if a, err = advisory.Parse(i.Document); err != nil {
			return err
		}
	} else {
		is, err := u.Matching.Of(ctx, rec.Key)
		if err != nil {
			return err
		}
		a.Packages = foreseen(a, is)
	}
	if v.Notices, err = noticesOf(a); err != nil {
		return err
	}
	return u.Render(w, r, http.StatusOK, "advisories/updateinfo", page.Page{Title: "updateinfo of " + rec.ID, Section: section, Body: v})
}

// foreseen are the packages that a release would name by now, as far as that is known before
// it: where they will lie and their sha256 it adds.
func foreseen(a advisory.Advisory, is matching.Answers) (out []advisory.Package) {
	const somewhere = "REPOSITORY"
	for _, m := range is.Chosen() {
		p := advisory.Package{NEVRA: m.NEVRA, Repository: somewhere}
		if i := slices.IndexFunc(a.Packages, func(w advisory.Package) bool { return w.NEVRA == m.Wanted }); i >= 0 {
			w := a.Packages[i]
			p.Reboot, p.Relogin, p.Restart = w.Reboot, w.Relogin, w.Restart
		}
		if l, ok := advisory.ParseModule(m.Label); ok {
			p.Module = &l
		}
		out = append(out, p)
	}
	return out
}

// noticesOf are the notices of an advisory, by repository.
func noticesOf(a advisory.Advisory) ([]noticeView, error) {
	var repositories []string
	for _, p := range a.Packages {
		repositories = append(repositories, p.Repository)
	}
	slices.Sort(repositories)
	var out []noticeView
	for _, path := range slices.Compact(repositories) {
		n, ok := update.Of(a, path)
		if !ok {
			continue
		}
		piece, err := updateinfo.Make(n)
		if err != nil {
			return nil, err
		}
		v := noticeView{Repository: path, XML: string(piece.Plain)}
		if len(v.XML) > maxXML {
			v.XML, v.Cut = v.XML[:maxXML], true
		}
		out = append(out, v)
	}
	return out, nil
}
