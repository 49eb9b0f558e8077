package build

import (
	"context"
	"slices"

	"albs/internal/albs"
)

// shareMultilib gives an arch the packages of another that the platform's rules name,
// once both are made: which of them came later makes no difference.
func (b *Builds) shareMultilib(ctx context.Context, in admission, all []made, s *settlement) error {
	of := func(a albs.Arch) (made, bool) {
		i := slices.IndexFunc(all, func(m made) bool { return m.arch == a })
		if i < 0 {
			return made{}, false
		}
		return all[i], true
	}
	for _, rule := range s.platform.Multilib {
		if rule.From != in.task.Arch && rule.Into != in.task.Arch {
			continue
		}
		from, there := of(rule.From)
		into, here := of(rule.Into)
		if !there || !here {
			continue
		}
		for _, f := range from.files {
			a, err := s.artifact(ctx, b, f.Digest)
			if err != nil {
				return err
			}
			if _, has := into.file(f.Name); has || a.NEVRA.Arch == string(albs.Noarch) || !rule.Takes(a.NEVRA.Name) {
				continue
			}
			if err := b.give(ctx, in, into, a, s); err != nil {
				return err
			}
			into.files = append(into.files, f) // of two rules for one package, one is enough
		}
	}
	return nil
}
