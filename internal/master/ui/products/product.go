package products

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
	"albs/internal/repodata"
)

// How many a page shows.
const (
	perPage   = 30  // products
	perLine   = 12  // serials of a line of history
	perRecent = 10  // releases of a product's page
	maxMapped = 200 // releases that are looked through for those of the serials
)

type productsView struct {
	Search   string
	Products []productRow
	Pager    page.Pager
	Make     page.Action
}

type productRow struct {
	product.Product
	Tree repo.Tree // what it shows; serial 0 for nothing
}

func (u *Pages) productsPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	search, err := page.Filters(r, "q")
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: "Products", Section: "products"}, FollowAll)
	if err != nil {
		return err
	}
	all, err := u.Products.All(ctx)
	if err != nil {
		return err
	}
	v := productsView{Search: search[0]}
	want := strings.ToLower(v.Search)
	all = slices.DeleteFunc(all, func(p product.Product) bool {
		return !strings.Contains(strings.ToLower(p.Name+"\n"+p.Title), want)
	})
	if all, v.Pager, err = page.Paged(r, all, perPage); err != nil {
		return err
	}
	for _, p := range all {
		t, err := u.shown(ctx, p.Name)
		if err != nil {
			return err
		}
		v.Products = append(v.Products, productRow{p, t})
	}
	v.Make = page.ActionOf("/products/new", "New product…", u.anywhere(ctx), true, "")
	v.Make.Leads = true
	p.Body = v
	return u.Render(w, r, http.StatusOK, "products/products", p)
}

// anywhere says why the person who asks may not make a product; nil for one who may for
// some team.
func (u *Pages) anywhere(ctx context.Context) error {
	if s := auth.ScopeOf(ctx, auth.ProductApply); s.All || len(s.Teams) > 0 {
		return nil
	}
	return auth.Can(ctx, auth.ProductApply, auth.Object{})
}

// shown is what a product shows, with serial 0 if that is nothing.
func (u *Pages) shown(ctx context.Context, name string) (repo.Tree, error) {
	t, err := u.Repos.TreeOf(ctx, name)
	if errors.Is(err, albs.NotFound) {
		return repo.Tree{}, nil
	}
	return t, err
}

// productOf returns the product that a path names.
func (u *Pages) productOf(r *http.Request) (product.Product, error) {
	return u.Products.Get(r.Context(), chi.URLParam(r, "product"))
}

type productView struct {
	product.Product
	Key          *sign.Key // nil if the product has none, or none of that name is there
	Tree         repo.Tree // what it shows; serial 0 for nothing
	Repositories []repository
	Packages     int // of all repositories
	Bytes        int64
	Line         []serial // the newest first
	Older        string   // address of the line's next part; "" if there is none
	Waiting      []record.Given
	Releases     []release.Release
	Running      *release.Release // that is being published
	Uses         []use
	Spec         string // the product as it was applied, in YAML
	Actions      []page.Action
}

// repository is one of a product as it is wanted, and as it is shown.
type repository struct {
	product.Repository
	Held *history.Held // nil if it isn't shown
	Gone bool          // it is shown, and the product has it no more
}

// serial is one serial of a product's history.
type serial struct {
	repo.Tree
	Release *release.Release // that brought it; nil if it isn't known
	Changed bool             // the repository that is looked at changed with it; true of whole products
	Before  int64            // the serial before; 0 if there is none, or it isn't known
	Back    string           // where to go back to it; "" if that can't be
}

func (u *Pages) productPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	spec, err := u.productOf(r)
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: "Product " + spec.Name, Section: "products"}, Follow(spec.Name))
	if err != nil {
		return err
	}
	if spec, err = u.productOf(r); err != nil {
		return err
	}
	v := productView{Product: spec, Uses: usesOf(u.base(r), spec.Spec)}
	if v.Key, err = u.keyOf(ctx, spec); err != nil {
		return err
	}
	var held []history.Held
	v.Tree, held, err = u.History.Holdings(ctx, spec.Name, 0)
	if err != nil && !errors.Is(err, albs.NotFound) {
		return err
	}
	v.Repositories = repositoriesOf(spec.Repositories, held)
	for _, h := range held {
		v.Packages += h.Packages
		v.Bytes += h.Bytes
	}
	line, list, err := u.line(ctx, spec, before)
	if err != nil {
		return err
	}
	v.Releases = list[:min(len(list), perRecent)]
	for i, rel := range list {
		if rel.Status == release.InProgress {
			v.Running = &list[i]
		}
	}
	if v.Line = line; len(line) > perLine {
		v.Line = line[:perLine]
		v.Older = page.With(r.URL, "before", strconv.FormatInt(line[perLine-1].Serial, 10))
	}
	given, err := u.Records.Of(ctx, spec.Name)
	if err != nil {
		return err
	}
	v.Waiting = waiting(given, held)
	if v.Spec, err = yamlOf(spec.Spec); err != nil {
		return err
	}
	v.Actions = u.actions(ctx, v)
	p.Body = v
	return u.Render(w, r, http.StatusOK, "products/product", p)
}

// line returns the serials of a product below one (0: from the newest), one more than a
// page shows if there are more, and the product's newest releases, the newest first.
func (u *Pages) line(ctx context.Context, p product.Product, before int64) ([]serial, []release.Release, error) {
	list, _, err := u.Releases.List(ctx, release.Filter{Product: p.Name, Limit: maxMapped})
	if err != nil {
		return nil, nil, err
	}
	trees, err := u.Repos.Trees(ctx, p.Name, before, perLine+1)
	if err != nil {
		return nil, nil, err
	}
	return lineOf(trees, list, auth.Can(ctx, auth.ReleaseRollback, p.Object()) == nil), list, nil
}

// keyOf returns the key that a product names, nil if there is none of that name.
func (u *Pages) keyOf(ctx context.Context, p product.Product) (*sign.Key, error) {
	if p.Key == "" {
		return nil, nil
	}
	k, err := u.Signs.Key(ctx, p.Key)
	if errors.Is(err, albs.NotFound) {
		return nil, nil
	}
	return &k, err
}

// repositoriesOf lays what a product is to have beside what it shows, by path.
func repositoriesOf(wanted []product.Repository, held []history.Held) []repository {
	byPath := make(map[string]*history.Held, len(held))
	for i := range held {
		byPath[held[i].Path] = &held[i]
	}
	var out []repository
	for _, w := range wanted {
		out = append(out, repository{Repository: w, Held: byPath[w.Path]})
		delete(byPath, w.Path)
	}
	for path, h := range byPath {
		out = append(out, repository{Repository: product.Repository{Path: path}, Held: h, Gone: true})
	}
	slices.SortFunc(out, func(a, b repository) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// lineOf tells of each tree which release brought it. back says that the person who asks
// may roll back.
func lineOf(trees []repo.Tree, releases []release.Release, back bool) []serial {
	bySerial := make(map[int64]*release.Release, len(releases))
	for i, r := range releases {
		if r.Status == release.Completed || r.Status == release.Reverted {
			bySerial[r.Serial] = &releases[i]
		}
	}
	out := make([]serial, len(trees))
	for i, t := range trees {
		out[i] = serial{Tree: t, Release: bySerial[t.Serial], Changed: true}
		if i+1 < len(trees) {
			out[i].Before = trees[i+1].Serial
		}
		if back && !t.Current {
			out[i].Back = "/product/" + t.Product + "/rollback?to=" + strconv.FormatInt(t.Serial, 10)
		}
	}
	return out
}

// waiting are the records that were given and aren't shown as they were given.
func waiting(given []record.Given, held []history.Held) []record.Given {
	shown := map[string][]repodata.Record{}
	for _, h := range held {
		shown[h.Path] = h.Records
	}
	return slices.DeleteFunc(slices.Clone(given), func(g record.Given) bool {
		return !slices.ContainsFunc(g.Files, func(f repodata.Record) bool {
			return !slices.ContainsFunc(shown[g.Path], func(s repodata.Record) bool { return s.Type == f.Type && s.Digest == f.Digest })
		})
	})
}

// yamlOf is a spec as people write it.
func yamlOf(s product.Spec) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(s), e.Close()); err != nil {
		return "", err
	}
	return b.String(), nil
}

// actions says what the person who asks may do with a product.
func (u *Pages) actions(ctx context.Context, v productView) []page.Action {
	object := v.Object()
	plan := page.ActionOf("/release/create?product="+v.Name, "New release…", auth.Can(ctx, auth.ReleasePlan, object), true, "")
	earlier := int64(0)
	if len(v.Line) > 0 {
		earlier = v.Line[0].Before
	}
	back := page.ActionOf("/product/"+v.Name+"/rollback?to="+strconv.FormatInt(earlier, 10), "Roll back…", auth.Can(ctx, auth.ReleaseRollback, object),
		earlier > 0 && len(v.Line) > 0 && v.Line[0].Current, "it showed nothing before")
	edit := page.ActionOf("/product/"+v.Name+"/edit", "Edit…", auth.Can(ctx, auth.ProductApply, object), true, "")
	copied := page.ActionOf("/release/copy?from="+v.Name, "Copy from it…", nil, v.Tree.Serial > 0, "it shows nothing yet")
	out := []page.Action{plan, copied, back, edit}
	for i := range out {
		out[i].Leads = true
	}
	return out
}
