package statement

import (
	"net/url"
	"path"
	"regexp"

	"albs/internal/albs"
	"albs/internal/attest"
)

// The modes of isolation; docs/design/builders.md says what each is worth.
const (
	Apart     = "apart"     // a node on a host or under a user of its own
	Together  = "together"  // a node in the master's process
	Cached    = "cached"    // either, with a compiler cache that earlier builds wrote to
	Networked = "networked" // any, with the network reachable from the build
)

// Builder is one that statements about builds may name.
type Builder struct {
	ID   string // a URI below the farm's
	Mode string // of isolation
	// Level is that of SLSA's build track that is claimed for it.
	Level int
	// Path is where this master says what the id is worth: that of the id, if it is a URL,
	// so that it leads here where it names this master.
	Path string
}

// Builders returns all builders below the farm's URI.
func Builders(farm string) []Builder {
	var all []Builder
	for _, mode := range []string{Apart, Together, Cached, Networked} {
		all = append(all, builder(farm, mode))
	}
	return all
}

// BuilderOf returns the builder, below the farm's URI, by how a build in root was isolated
// from the master, in whose process it may have been, from the network and from other
// builds.
func BuilderOf(farm string, inProcess bool, root albs.Root) Builder {
	switch {
	case root.Network:
		return builder(farm, Networked)
	case root.CCache:
		return builder(farm, Cached)
	case inProcess:
		return builder(farm, Together)
	}
	return builder(farm, Apart)
}

func builder(farm, mode string) Builder {
	id := farm + "/" + mode + "/v1"
	b := Builder{ID: id, Mode: mode, Level: attest.BuildLevel(id), Path: OwnPath(mode)}
	u, err := url.Parse(b.ID)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.RawQuery == "" && u.Fragment == "" && plainPath.MatchString(u.EscapedPath()) && path.Clean(u.Path) == u.Path {
		b.Path = u.Path
	}
	return b
}

// OwnPath returns the path at which every master describes the builder of a mode, also one
// whose ids are no URLs.
func OwnPath(mode string) string { return "/builder/" + mode + "/v1" }

// plainPath is a path that means itself wherever it is written.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._~-]+$`)
