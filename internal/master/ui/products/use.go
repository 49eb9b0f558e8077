package products

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/ui/words"
)

// use is what a user of a product puts below /etc/yum.repos.d for a platform.
type use struct {
	Platform string
	URL      string // where the text is to be had
	Text     string
}

func usesOf(base string, s product.Spec) []use {
	var out []use
	for _, p := range s.Platforms {
		out = append(out, use{p, fmt.Sprintf("%s/product/%s/repo/%s.repo", base, s.Name, p), repoText(base, s, p)})
	}
	return out
}

// repoText is the configuration of dnf for a product's repositories of a platform, in
// the form of dnf.conf(5). Repositories that differ in their arch alone are one section,
// by dnf's $basearch; of a product's kinds those of binary packages are enabled.
func repoText(base string, s product.Spec, platform string) string {
	title := s.Title
	if title == "" {
		title = s.Name
	}
	var b strings.Builder
	seen := map[string]bool{}
	for _, r := range s.Repositories {
		path := r.Path
		// dnf calls i686 otherwise, so its repositories keep their own paths.
		if r.Kind != product.Source && r.Arch != albs.I686 {
			path = inArch(path, r.Arch)
		}
		if r.Platform != platform || seen[path] {
			continue
		}
		seen[path] = true
		id := strings.Trim(strings.NewReplacer("/", "-", "$basearch", "").Replace(s.Name+"-"+path), "-")
		for strings.Contains(id, "--") {
			id = strings.ReplaceAll(id, "--", "-")
		}
		enabled := 0
		if r.Kind == product.RPM {
			enabled = 1
		}
		root := base + "/repos/product/" + s.Name + "/"
		fmt.Fprintf(&b, "[%s]\nname=%s %s\nbaseurl=%s%s/\nenabled=%d\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=%sRPM-GPG-KEY-%s\n\n", id, title, path, root, path, enabled, root, s.Name)
	}
	return strings.TrimSpace(b.String()) + "\n"
}

// inArch returns a path with $basearch in the place of the folder that is an arch's.
func inArch(path string, arch albs.Arch) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p == string(arch) {
			parts[i] = "$basearch"
		}
	}
	return strings.Join(parts, "/")
}

// repoFile answers with the configuration itself, as dnf config-manager and curl take it.
func (u *Pages) repoFile(w http.ResponseWriter, r *http.Request) error {
	p, err := u.productOf(r)
	if err != nil {
		return err
	}
	file := chi.URLParam(r, "file")
	for _, x := range usesOf(u.base(r), p.Spec) {
		if x.Platform+".repo" == file {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(x.Text)) // an error says that the client is gone
			return nil
		}
	}
	return albs.Errorf(albs.NotFound, "product %s has no file %s: there is one for each platform, as PLATFORM.repo", p.Name, words.Inert(words.Cut(file, 100)))
}
