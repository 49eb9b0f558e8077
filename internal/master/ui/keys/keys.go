package keys

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
	"albs/internal/pgp"
)

// maxMaking is how many keys that are being made, or couldn't be, the list tells of.
const maxMaking = 20

type keysView struct {
	Keys     []keyRow
	Making   []sign.Keygen // the newest first
	Products []string
	Why      string // why the person may not have one made for anything; "" if it can be done
}

// keyRow is a key with the products that name it.
type keyRow struct {
	sign.Key
	Used []string
}

// usesOf are the products that name a key.
func usesOf(k sign.Key, all []product.Product) (out []string) {
	for _, p := range all {
		if slices.ContainsFunc(p.AllKeys(), func(name string) bool { return name == k.Fingerprint || name == k.Name }) {
			out = append(out, p.Name)
		}
	}
	return out
}

func (u *Pages) keysPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p, err := u.Follow(ctx, page.Page{Title: "Signing keys", Section: "keys"}, Follow)
	if err != nil {
		return err
	}
	all, err := u.Products.All(ctx)
	if err != nil {
		return err
	}
	keys, err := u.Signs.Keys(ctx)
	if err != nil {
		return err
	}
	v := keysView{Why: page.WhyNot(anywhere(ctx))}
	for _, k := range keys {
		v.Keys = append(v.Keys, keyRow{k, usesOf(k, all)})
	}
	for _, p := range all {
		v.Products = append(v.Products, p.Name)
	}
	if v.Making, err = u.making(ctx); err != nil {
		return err
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "keys/keys", p)
}

// anywhere says why the person who asks may not have a key made; nil for one who may for
// some team.
func anywhere(ctx context.Context) error {
	if s := auth.ScopeOf(ctx, auth.KeyGenerate); s.All || len(s.Teams) > 0 {
		return nil
	}
	return auth.Can(ctx, auth.KeyGenerate, auth.Object{})
}

// making are the wishes for keys that aren't there yet.
func (u *Pages) making(ctx context.Context) ([]sign.Keygen, error) {
	tasks, err := u.Queue.List(ctx, queue.Filter{Kind: albs.KindKeygen, Limit: maxMaking})
	if err != nil {
		return nil, err
	}
	var out []sign.Keygen
	for _, t := range tasks {
		if t.Spec.Keygen != nil && t.Spec.Keygen.Revoke != nil {
			continue
		}
		k, err := u.Signs.Keygen(ctx, t.ID)
		if err != nil {
			return nil, err
		}
		if k.Fingerprint == "" {
			out = append(out, k)
		}
	}
	return out, nil
}

// generate has a key made.
func (u *Pages) generate(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	f := r.PostForm
	products := slices.DeleteFunc(f["product"], func(s string) bool { return s == "" })
	if _, err := u.Signs.GenerateKey(r.Context(), sign.NewKey{
		Name: f.Get("name"), UserID: f.Get("user_id"), Algorithm: f.Get("algorithm"), Products: products,
	}); err != nil {
		return err
	}
	return page.Changed(w, r, "/keys")
}

type keyView struct {
	keyRow
	Self    pgp.PublicKey // what the key says of itself
	Actions []page.Action
}

func (u *Pages) keyPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	k, err := u.Signs.Key(ctx, chi.URLParam(r, "key"))
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: "Key " + k.Name, Section: "keys"}, Follow)
	if err != nil {
		return err
	}
	all, err := u.Products.All(ctx)
	if err != nil {
		return err
	}
	end := page.ActionOf("/key/"+k.Fingerprint+"/deactivate", "Deactivate", u.mayEnd(ctx, k, all), k.Active, "it is not active")
	end.Sure = "Nothing new is signed with it any more. What it signed stays good. Nobody can take this back."
	v := keyView{keyRow: keyRow{k, usesOf(k, all)}, Actions: []page.Action{end}}
	ring, err := pgp.ReadKeyring(k.Public)
	if err != nil {
		return err
	}
	if own := ring.Keys(); len(own) > 0 {
		v.Self = own[0]
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "keys/key", p)
}

// mayEnd says why the person who asks may not end the use of a key, as who makes one
// does: for each of its products.
func (u *Pages) mayEnd(ctx context.Context, k sign.Key, all []product.Product) error {
	if len(k.Products) == 0 {
		return auth.Can(ctx, auth.KeyGenerate, auth.Object{})
	}
	for _, p := range all {
		if !slices.Contains(k.Products, p.Name) {
			continue
		}
		if err := auth.Can(ctx, auth.KeyGenerate, p.Object()); err != nil {
			return err
		}
	}
	return nil
}

func (u *Pages) deactivate(w http.ResponseWriter, r *http.Request) error {
	key := chi.URLParam(r, "key")
	k, err := u.Signs.Key(r.Context(), key)
	if err != nil {
		return err
	}
	if err := u.Signs.Deactivate(r.Context(), k.Fingerprint); err != nil {
		return err
	}
	return page.Changed(w, r, "/key/"+k.Fingerprint)
}
