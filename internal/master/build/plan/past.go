package plan

import (
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/queue/schedule"
)

// PastKey is what past runs of an item's task are known by: package, platform and arch;
// "" if that is too long. Before the import, when the package isn't known, it is what
// the repository at url is called. Nothing but the order of work and what is said of its
// length hangs on it.
func PastKey(name, url, platform string, arch albs.Arch) string {
	if name == "" {
		name = strings.TrimSuffix(path.Base(url), ".git")
	}
	key := strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, name+"/"+platform+"/"+string(arch))
	if len(key) > schedule.MaxKey {
		return ""
	}
	return key
}
