package products

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// maxSpec is how many bytes of YAML a form may bring.
const maxSpec = 256 << 10

// editView is a product as YAML, to be changed.
type editView struct {
	Name    string // "" for a new one
	URL     string
	Text    string
	Problem string // what is wrong with it
	Why     string // why the person may not; "" if it can be done
}

// example is what a form for a new product begins with.
const example = `name: 
title: 
team: 
platforms: []
repositories:
  - path: BaseOS/x86_64/os
    platform: 
    arch: x86_64
    kind: rpm
key: 
gate:
  tests: required
approvals:
  count: 1
  distinct: true
`

func (u *Pages) newPage(w http.ResponseWriter, r *http.Request) error {
	v := editView{URL: "/products/new", Text: example, Why: page.WhyNot(u.anywhere(r.Context()))}
	return u.Render(w, r, http.StatusOK, "products/edit", page.Page{Title: "New product", Section: "products", Body: v})
}

func (u *Pages) editPage(w http.ResponseWriter, r *http.Request) error {
	p, err := u.productOf(r)
	if err != nil {
		return err
	}
	v := editView{Name: p.Name, URL: "/product/" + p.Name + "/edit", Why: page.WhyNot(auth.Can(r.Context(), auth.ProductApply, p.Object()))}
	if v.Text, err = yamlOf(p.Spec); err != nil {
		return err
	}
	return u.Render(w, r, http.StatusOK, "products/edit", page.Page{Title: "Edit product " + p.Name, Section: "products", Body: v})
}

// apply makes the YAML of a form the product. What is wrong with it stands above the
// form, in which nothing is lost.
func (u *Pages) apply(w http.ResponseWriter, r *http.Request) error {
	if err := page.LongForm(w, r, maxSpec); err != nil {
		return err
	}
	name := chi.URLParam(r, "product") // "" for a new one
	text := strings.ReplaceAll(r.PostForm.Get("spec"), "\r\n", "\n")
	s, err := product.Parse(strings.NewReader(text))
	if err == nil {
		err = u.named(r, name, s.Name)
	}
	if err == nil {
		_, err = u.Products.Apply(r.Context(), s)
	}
	if errors.Is(err, albs.Invalid) || errors.Is(err, albs.Conflict) {
		v := editView{Name: name, URL: r.URL.EscapedPath(), Text: text, Problem: albs.UserMessage(err)}
		return u.Render(w, r, http.StatusUnprocessableEntity, "products/edit", page.Page{Title: "Edit product", Section: "products", Body: v})
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/product/"+s.Name, http.StatusSeeOther)
	return nil
}

// named refuses a form that would make another product than it is for: a new name is
// a new product, and one that is there isn't changed by the form for new ones.
func (u *Pages) named(r *http.Request, form, spec string) error {
	if form != "" && form != spec {
		return albs.Errorf(albs.Invalid, "a product keeps its name: this one is %s, not %s", form, words.Inert(words.Cut(spec, 100)))
	}
	if form != "" {
		return nil
	}
	_, err := u.Products.Get(r.Context(), spec)
	switch {
	case errors.Is(err, albs.NotFound):
		return nil
	case err != nil:
		return err
	}
	return albs.Errorf(albs.Conflict, "there is a product %s already; edit that one on its own page", spec)
}
