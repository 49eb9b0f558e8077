package products

import (
	"errors"
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face"
	"albs/internal/master/ui/page"
	recordfile "albs/internal/repodata/record"
)

// formMemory is how much of a form with a file is held in memory; the rest waits in a
// file.
const formMemory = 8 << 20

// giveRecord gives a repository the metadata file of a form.
func (u *Pages) giveRecord(w http.ResponseWriter, r *http.Request) error {
	spec, err := u.productOf(r)
	if err != nil {
		return err
	}
	if err := auth.Can(r.Context(), auth.ReleasePlan, spec.Object()); err != nil { // before the file is read
		return err
	}
	r.Body = face.LongBody(w, r, recordfile.MaxBytes+(1<<20))
	if err := r.ParseMultipartForm(formMemory); err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return albs.Errorf(albs.TooLarge, "the file has more than %d bytes", large.Limit)
		}
		return albs.Errorf(albs.Invalid, "the form is malformed, or broke off")
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }() // what stays is in the system's temporary folder
	f, _, err := r.FormFile("file")
	if err != nil {
		return albs.Errorf(albs.Invalid, "choose the file to give")
	}
	defer f.Close()
	path := r.PostFormValue("repository")
	if _, err := u.Records.Set(r.Context(), spec.Name, path, map[string]io.Reader{r.PostFormValue("type"): f}); err != nil {
		return err
	}
	return page.Changed(w, r, repoURL(spec.Name, path, 0)+"#records")
}

// takeRecord takes a metadata file from a repository.
func (u *Pages) takeRecord(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	name, path := chi.URLParam(r, "product"), r.PostForm.Get("repository")
	if err := u.Records.Remove(r.Context(), name, path, r.PostForm.Get("type")); err != nil {
		return err
	}
	return page.Changed(w, r, repoURL(name, path, 0)+"#records")
}
