package settle

import (
	"context"
	"slices"

	"albs/internal/albs"
)

// shareMultilib gives an arch the packages of another that the platform's rules name,
// once both are made: which of them came later makes no difference.
func (s *settling) shareMultilib(ctx context.Context, all []Made) error {
	of := func(a albs.Arch) (Made, bool) {
		i := slices.IndexFunc(all, func(m Made) bool { return m.Arch == a })
		if i < 0 {
			return Made{}, false
		}
		return all[i], true
	}
	for _, rule := range s.Platform.Multilib {
		if rule.From != s.Arch && rule.Into != s.Arch {
			continue
		}
		from, there := of(rule.From)
		into, here := of(rule.Into)
		if !there || !here {
			continue
		}
		for _, f := range from.Files {
			a, err := s.packages.Artifact(ctx, f.Digest)
			if err != nil {
				return err
			}
			if _, has := into.file(f.Name); has || a.NEVRA.Arch == string(albs.Noarch) || !rule.Takes(a.NEVRA.Name) {
				continue
			}
			if err := s.give(ctx, into, a); err != nil {
				return err
			}
			into.Files = append(into.Files, f) // of two rules for one package, one is enough
		}
	}
	return nil
}
