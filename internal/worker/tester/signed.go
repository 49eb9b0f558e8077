package tester

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// signed installs the signed copy out of a repository whose packages dnf takes only with a
// good signature by one of its keys, which come with the task and not from there. It is dnf,
// and rpmkeys for it, that verifies them, as on the machine of a user who has imported the
// same keys; then what was installed must be the very file, and one of those keys the one
// that rpm has on record for it.
func (s *subject) signed(ctx context.Context, log io.Writer) error {
	ids, err := signers(s.spec.Root.Repos)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return notRun("no repository of the task has keys by which signatures could be checked")
	}
	if err := s.put(ctx, s.env, s.pkg.NEVRA, log); err != nil {
		return err
	}
	packages, err := s.env.Installed(ctx)
	if err != nil {
		return err
	}
	if why := identity(packages, s.pkg); why != "" {
		return failed("%s", why)
	}
	for _, p := range packages {
		if p.NEVRA() != s.pkg.NEVRA {
			continue
		}
		switch {
		case p.KeyID == "":
			return failed("dnf took it though rpm knows no signature of it")
		case !slices.Contains(ids, p.KeyID):
			return failed("it is signed with key %s, and not with %s", p.KeyID, strings.Join(ids, " or "))
		}
		fmt.Fprintf(log, "%s is file %s, signed with key %s\n", s.pkg.NEVRA, p.File, p.KeyID)
	}
	return nil
}

// signers returns the ids of the keys, and of their subkeys that sign, by one of which the
// packages of repositories have to be signed: the last 16 digits of the fingerprints, as
// rpm spells them. What is no public key is Unavailable: no package is to blame.
func signers(repos []albs.Repo) ([]string, error) {
	var ids []string
	for _, r := range repos {
		if r.Keys == "" {
			continue
		}
		ring, err := rpm.ReadKeyring([]byte(r.Keys))
		if err != nil {
			return nil, albs.Errorf(albs.Unavailable, "the keys of repository %s can't be read: %v", r.ID, err)
		}
		for _, public := range ring.Keys() {
			for _, fingerprint := range []string{public.Fingerprint, public.Subkey} {
				if len(fingerprint) == 40 {
					ids = append(ids, strings.ToLower(fingerprint[24:]))
				}
			}
		}
	}
	return ids, nil
}
