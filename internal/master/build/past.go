package build

import (
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/queue"
)

// pastKey is what past runs of an item's task are known by: package, platform and arch.
// Before the import the package is what the repository is called. Nothing but the order
// of work and what is said of its length hangs on it.
func pastKey(it itemRow, arch albs.Arch) string {
	name := it.Package
	if name == "" {
		name = strings.TrimSuffix(path.Base(it.URL), ".git")
	}
	key := strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, name+"/"+it.Platform+"/"+string(arch))
	if len(key) > queue.MaxKey {
		return ""
	}
	return key
}
