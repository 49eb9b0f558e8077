package signer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/pgp"
)

const maxPolicy = 256 << 10

// kind is a kind of what is signed, by which a policy tells keys apart.
type kind string

const (
	packageKind kind = "packages"
	repomdKind  kind = "repomd" // the metadata of a release's repositories
	filesKind   kind = "files"  // other files that people have signed
)

var kinds = []kind{packageKind, repomdKind, filesKind}

// kindOf returns what a task has signed.
func kindOf(spec albs.SignSpec) kind {
	switch {
	case len(spec.Documents) > 0:
		return repomdKind
	case len(spec.Files) > 0:
		return filesKind
	}
	return packageKind
}

// rule is what the operator lets one key do. An empty list allows any, but for kinds; 0
// bounds nothing.
type rule struct {
	Products  []string `yaml:"products"`
	Platforms []string `yaml:"platforms"` // that packages were built for
	Kinds     []kind   `yaml:"kinds"`     // empty are packages and repomd: files have to be named
	Quota     int      `yaml:"quota"`     // signatures within an hour
	Approvals int      `yaml:"approvals"` // people who approved what is signed, where Approve asks for it
	Signed    bool     `yaml:"signed"`    // of them count only those who signed that with a key of People
	Approve   []kind   `yaml:"approve"`   // what has to be approved; empty are repomd and files
	// NotBefore and NotAfter are the window in which the key may be used, by the
	// signer's own clock; what it signed within stays good.
	NotBefore time.Time `yaml:"not_before"`
	NotAfter  time.Time `yaml:"not_after"`
}

// signs reports whether the key may sign that kind.
func (r rule) signs(k kind) bool {
	return slices.Contains(r.Kinds, k) || len(r.Kinds) == 0 && k != filesKind
}

// approves reports whether that kind has to be approved.
func (r rule) approves(k kind) bool {
	return r.Approvals > 0 && (slices.Contains(r.Approve, k) || len(r.Approve) == 0 && k != packageKind)
}

// policy is the file policy.yaml.
type policy struct {
	// People are those whose approvals count where Signed asks for them, by name, with their
	// public keys as OpenSSH writes them.
	People map[string][]string `yaml:"people"`
	Keys   map[string]rule     `yaml:"keys"` // by fingerprint
}

// readPolicy reads policy.yaml anew for each task, so that a person's change holds
// at once; a file that can't be understood allows nothing.
func readPolicy(dir string) (policy, error) {
	var p policy
	path := filepath.Join(dir, "policy.yaml")
	b, err := disk.ReadFile(path, maxPolicy)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the signer's policy: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	err = d.Decode(&p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return p, albs.Errorf(albs.Forbidden, "the signer's policy %s can't be understood, so nothing is signed: %w", path, err)
	}
	return p, nil
}

// check refuses what would bind nothing, or everything, by a slip of the pen.
func (p policy) check() error {
	if _, err := p.people(); err != nil {
		return err
	}
	for name, r := range p.Keys {
		if !pgp.IsFingerprint(name) {
			return fmt.Errorf("%.60q is no fingerprint, 40 digits and capital letters", name)
		}
		for _, k := range slices.Concat(r.Kinds, r.Approve) {
			if !slices.Contains(kinds, k) {
				return fmt.Errorf("%.60q of key %s is none of %s", string(k), name, join(kinds))
			}
		}
		if (r.Signed || len(r.Approve) > 0) && r.Approvals == 0 {
			return fmt.Errorf("key %s says how to approve, and not by how many people: approvals", name)
		}
		if r.Signed && r.Approvals > len(p.People) {
			return fmt.Errorf("key %s wants %d people's own signatures, and people has the keys of %d", name, r.Approvals, len(p.People))
		}
		if r.Quota < 0 || r.Approvals < 0 {
			return fmt.Errorf("the quota or the approvals of key %s are less than none", name)
		}
		if !r.NotAfter.IsZero() && r.NotAfter.Before(r.NotBefore) {
			return fmt.Errorf("key %s may be used until %s, which is before it may be from %s on", name, day(r.NotAfter), day(r.NotBefore))
		}
	}
	return nil
}

// of returns the rule of a key. Where the operator says nothing of products, not even
// that they are any by an empty list, it stays with those that the key was made for; so
// it does with each end of the time of its use.
func (p policy) of(f keyFile) rule {
	r := p.Keys[f.Fingerprint]
	if r.Products == nil {
		r.Products = f.Products
	}
	if r.NotBefore.IsZero() {
		r.NotBefore = f.NotBefore
	}
	if r.NotAfter.IsZero() {
		r.NotAfter = f.NotAfter
	}
	return r
}

// asked says, before any evidence is looked at, whether the key may do what is asked
// for; Forbidden if not. Which product it is for, the intent in the ledger must say too,
// and of a document the approval.
func (r rule) asked(key string, spec albs.SignSpec, now time.Time) error {
	what := kindOf(spec)
	switch {
	case now.Before(r.NotBefore):
		return albs.Errorf(albs.Forbidden, "the signer's policy lets key %s sign from %s on", key, day(r.NotBefore))
	case !r.NotAfter.IsZero() && now.After(r.NotAfter):
		return albs.Errorf(albs.Forbidden, "the signer's policy let key %s sign until %s", key, day(r.NotAfter))
	case len(r.Products) > 0 && !slices.Contains(r.Products, spec.Product):
		return albs.Errorf(albs.Forbidden, "the signer's policy lets key %s sign for %s, not for %.80q", key, strings.Join(r.Products, ", "), spec.Product)
	case !r.signs(what) && len(r.Kinds) == 0:
		return albs.Errorf(albs.Forbidden, "the signer's policy lets key %s sign no %s: its kinds have to name them", key, what)
	case !r.signs(what):
		return albs.Errorf(albs.Forbidden, "the signer's policy lets key %s sign %s, not %s", key, join(r.Kinds), what)
	}
	if n := len(spec.Items()); r.Quota > 0 && n > r.Quota {
		return albs.Errorf(albs.Forbidden, "the signer's policy lets key %s make %d signatures in an hour, %d are asked for at once", key, r.Quota, n)
	}
	return nil
}

// shown says whether what the evidence shows of one thing is enough for the key;
// Forbidden if not. No statement names a source package's platform: what was built of
// it is held to the rule.
func (r rule) shown(key, name string, st stated) error {
	if len(r.Platforms) > 0 && !st.source && !st.document && !st.file && !slices.ContainsFunc(st.platforms, func(p string) bool { return slices.Contains(r.Platforms, p) }) {
		return albs.Errorf(albs.Forbidden, "the signer's policy lets key %s sign what was built for %s; %.200q was built for %s",
			key, strings.Join(r.Platforms, ", "), name, strings.Join(st.platforms, ", "))
	}
	if st.document && r.approves(repomdKind) && !r.Signed && st.approvals < r.Approvals {
		return albs.Errorf(albs.Forbidden, "the signer's policy wants %d people's approval for key %s; %d approved %.200q", r.Approvals, key, st.approvals, name)
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func join(kinds []kind) string {
	var out []string
	for _, k := range kinds {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}

// quotaTime is the time that a quota counts over.
const quotaTime = time.Hour

// room returns when n more signatures are within the quota, for a key that made some at
// the times used, in order: the zero time if they are now.
func (r rule) room(used []time.Time, n int) time.Time {
	over := len(used) + n - r.Quota
	if r.Quota == 0 || over <= 0 {
		return time.Time{}
	}
	return used[min(over, len(used))-1].Add(quotaTime)
}
