package laid

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// MirrorList names the file beside each repository that has the address of that
// repository in its own tree and not in current. Who goes by it asks for the pointer
// once and then reads one tree only, also when current moves meanwhile: repomd.xml and
// its signature are two requests, and by current they may be of two serials.
const MirrorList = "mirrorlist"

// RepoFile names the file beside each repository that a client's /etc/yum.repos.d takes.
func RepoFile(product string) string { return product + ".repo" }

// CheckURL refuses what can't be the address of a public place, as Invalid; key is where
// it was given. None at all is fine.
func CheckURL(key, s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	// A .repo file has one line for it, in which dnf puts the value of what follows a $.
	if err != nil || strings.ContainsAny(s, " ,$") || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		!(u.Scheme == "file" && u.Host == "" && path.IsAbs(u.Path) || (u.Scheme == "https" || u.Scheme == "http") && u.Host != "") {
		return albs.Errorf(albs.Invalid, "%s is %q: it takes the address of the public place, as https://repo.example.org/albs", key, s)
	}
	return nil
}

// Invites reports whether the path of a file is that of a file by which readers find a
// repository, or is below it.
func Invites(t repodata.Tree, isRepo map[string]bool, name string) bool {
	for i, c := range name {
		if c == '/' && isRepo[name[:i]] {
			first, _, _ := strings.Cut(name[i+1:], "/")
			return first == MirrorList || first == RepoFile(t.Product)
		}
	}
	return false
}

// Readers is where readers find the products of a place, as Config.URL says it.
type Readers string

// Address is where they find a name of a product's place, "" if nobody said.
func (at Readers) Address(product, name string) (string, error) {
	if at == "" {
		return "", nil
	}
	u, err := url.Parse(string(at))
	if err != nil {
		return "", fmt.Errorf("parse address of the public place: %w", err)
	}
	return u.JoinPath(product, name).String(), nil
}

// Invitation returns the two files by which readers find repository r of tree t, which
// lies in the tree of that serial, by their names. A place without an address has none.
func (at Readers) Invitation(t repodata.Tree, r repodata.TreeRepo, serial int64) (map[string]string, error) {
	if at == "" {
		return nil, nil
	}
	own, err := at.Address(t.Product, path.Join(TreeName(serial), r.Path)+"/")
	if err != nil {
		return nil, err
	}
	list, err := at.Address(t.Product, path.Join("current", r.Path, MirrorList))
	if err != nil {
		return nil, err
	}
	id := strings.Map(func(c rune) rune {
		if strings.ContainsRune("-._", c) || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return '-'
	}, t.Product+"-"+r.Path)
	text := fmt.Sprintf("[%s]\nname=%s\nmirrorlist=%s\n", id, id, list)
	var keys []string
	for _, f := range t.Files {
		if strings.HasPrefix(f.Path, "RPM-GPG-KEY-") {
			key, err := at.Address(t.Product, path.Join("current", f.Path))
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		text += "gpgkey=" + strings.Join(keys, " ") + "\n"
	}
	text += "gpgcheck=1\nrepo_gpgcheck=1\nenabled=1\n"
	return map[string]string{MirrorList: own + "\n", RepoFile(t.Product): text}, nil
}
