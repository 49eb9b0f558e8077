package csaf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
)

const (
	feedName     = "csaf-feed-tlp-white.json"
	feedID       = "csaf-feed-tlp-white"
	schemaURL    = "https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json"
	providerName = "provider-metadata.json"
)

// WellKnown is where a web site has the metadata of its provider (§7.1.9).
const WellKnown = ".well-known/csaf/" + providerName

// entry is a document in the lists: one line of a piece.
type entry struct {
	Path      string `json:"path"` // below Folder
	ID        string `json:"id"`
	Title     string `json:"title"`
	Published string `json:"published"`
	Updated   string `json:"updated"`
}

// The types below are a ROLIE feed as §7.1.15 has it.

type feed struct {
	Feed struct {
		ID       string      `json:"id"`
		Title    string      `json:"title"`
		Link     []link      `json:"link"`
		Category []category  `json:"category"`
		Updated  string      `json:"updated"`
		Entry    []feedEntry `json:"entry"`
	} `json:"feed"`
}

type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

type category struct {
	Scheme string `json:"scheme"`
	Term   string `json:"term"`
}

type feedEntry struct {
	ID        string  `json:"id"`
	Title     string  `json:"title"`
	Link      []link  `json:"link"`
	Published string  `json:"published"`
	Updated   string  `json:"updated"`
	Content   content `json:"content"`
	Format    format  `json:"format"`
}

type content struct {
	Type string `json:"type"`
	Src  string `json:"src"`
}

type format struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
}

// Lists returns the files that tell which documents there are and when each was last
// changed: index.txt and changes.csv (§7.1.12, §7.1.13) and a ROLIE feed, all below Folder.
// The pieces are those that Write returned, one for each advisory, in any order; updated is
// when the newest of them was released. signed says that each document has its signature
// beside it. A piece that Write didn't return is Invalid.
func Lists(d advisory.Distribution, pieces []advisory.Piece, updated time.Time, signed bool) ([]advisory.File, error) {
	var entries []entry
	for _, p := range pieces {
		for line := range bytes.Lines(p.Bytes) {
			var e entry
			if err := json.Unmarshal(line, &e); err != nil || e.Path == "" {
				return nil, albs.Errorf(albs.Invalid, "the piece of the advisory %.100q is none of CSAF", p.ID)
			}
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.Path, y.Path) })
	var index strings.Builder
	for _, e := range entries {
		index.WriteString(e.Path + "\n")
	}
	// All times are UTC in one form, so that their order is that of their letters.
	slices.SortStableFunc(entries, func(x, y entry) int { return strings.Compare(y.Updated, x.Updated) })
	var changes strings.Builder
	var f feed
	f.Feed.ID, f.Feed.Title = feedID, "CSAF documents of "+d.Vendor+" for "+strings.TrimSpace(d.Name+" "+d.Version)+" (TLP:WHITE)"
	base := d.URL + "/" + Folder
	f.Feed.Link = []link{{"self", base + feedName}}
	f.Feed.Category = []category{{"urn:ietf:params:rolie:category:information-type", "csaf"}}
	f.Feed.Updated = stamp(updated)
	f.Feed.Entry = make([]feedEntry, 0, len(entries))
	for _, e := range entries {
		changes.WriteString(`"` + e.Path + `","` + e.Updated + "\"\n")
		url := base + e.Path
		links := []link{{"self", url}, {"hash", url + ".sha256"}, {"hash", url + ".sha512"}}
		if signed {
			links = append(links, link{"signature", url + ".asc"})
		}
		f.Feed.Entry = append(f.Feed.Entry, feedEntry{
			ID: e.ID, Title: e.Title, Link: links, Published: e.Published, Updated: e.Updated,
			Content: content{"application/json", url}, Format: format{schemaURL, "2.0"},
		})
	}
	b, err := encode(f)
	if err != nil {
		return nil, err
	}
	return []advisory.File{
		{Path: Folder + "index.txt", Bytes: []byte(index.String())},
		{Path: Folder + "changes.csv", Bytes: []byte(changes.String())},
		{Path: Folder + feedName, Bytes: b},
	}, nil
}

// Key is an OpenPGP key that signs documents: its fingerprint in hexadecimal and where it
// can be had.
type Key struct {
	Fingerprint string `json:"fingerprint"`
	URL         string `json:"url"`
}

type provider struct {
	Canonical     string        `json:"canonical_url"`
	Distributions []distributed `json:"distributions,omitempty"`
	Updated       string        `json:"last_updated"`
	List          bool          `json:"list_on_CSAF_aggregators"`
	Version       string        `json:"metadata_version"`
	Mirror        bool          `json:"mirror_on_CSAF_aggregators"`
	Keys          []Key         `json:"public_openpgp_keys,omitempty"`
	Publisher     publisher     `json:"publisher"`
	Role          string        `json:"role"`
}

type distributed struct {
	Directory string `json:"directory_url,omitempty"`
	ROLIE     *rolie `json:"rolie,omitempty"`
}

type rolie struct {
	Feeds []rolieFeed `json:"feeds"`
}

type rolieFeed struct {
	Summary string `json:"summary"`
	TLP     string `json:"tlp_label"`
	URL     string `json:"url"`
}

// Provider returns provider-metadata.json (§7.1.7), which tells where the documents of one
// vendor's platforms are and which keys sign them, in the role of a provider. It may stand
// at several addresses, and canonical is the one that counts. ds are at least one, all of
// one vendor, else it is Invalid.
func Provider(canonical string, ds []advisory.Distribution, keys []Key, updated time.Time) ([]byte, error) {
	if len(ds) == 0 || !strings.HasSuffix(canonical, "/"+providerName) {
		return nil, albs.Errorf(albs.Invalid, "%.200q with %d platforms can't be a provider's metadata", canonical, len(ds))
	}
	ds = slices.Clone(ds)
	slices.SortFunc(ds, func(x, y advisory.Distribution) int {
		return cmp.Or(strings.Compare(x.URL, y.URL), strings.Compare(x.Platform, y.Platform))
	})
	p := provider{
		Canonical: canonical, Updated: stamp(updated), List: true, Version: "2.0", Mirror: true, Keys: keys, Role: "csaf_provider",
		Publisher: publisher{Category: "vendor", Contact: ds[0].Contact, Name: ds[0].Vendor, Namespace: ds[0].Namespace},
	}
	var feeds []rolieFeed
	for _, d := range ds {
		if d.Vendor != ds[0].Vendor || d.Namespace != ds[0].Namespace {
			return nil, albs.Errorf(albs.Invalid, "the platforms %s and %s are of two vendors, and a provider is one", ds[0].Platform, d.Platform)
		}
		base := d.URL + "/" + Folder
		p.Distributions = append(p.Distributions, distributed{Directory: base})
		feeds = append(feeds, rolieFeed{"All documents for " + strings.TrimSpace(d.Name+" "+d.Version), "WHITE", base + feedName})
	}
	p.Distributions = append(p.Distributions, distributed{ROLIE: &rolie{feeds}})
	return encode(p)
}
