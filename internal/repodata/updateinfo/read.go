package updateinfo

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
)

// Bounds of a file that is read.
const (
	maxBytes       = 1 << 30  // uncompressed
	maxUpdateBytes = 16 << 20 // of a notice
	maxListed      = 100_000  // references, packages, or collections of a notice
)

// Read calls yield for each notice of a file, plain or compressed by gzip, zstd or xz, in
// the file's order, and ends with the error that yield gives. It is tolerant: elements and
// attributes that aren't known are passed by, texts have no space at their ends, and nothing
// but the form is checked; ids may be missing or there twice. What isn't such a file is
// Invalid, what passes a bound TooLarge; notices before the fault have been yielded.
func Read(r io.Reader, yield func(Update) error) error {
	plain, done, err := intake.Decompress(r)
	if err != nil {
		return intake.Refused("updateinfo.xml", err)
	}
	defer done()
	p := parser{s: intake.NewScanner(plain, maxBytes, maxUpdateBytes)}
	if err := p.s.Root("updates"); err != nil {
		return intake.Refused("updateinfo.xml", err)
	}
	for {
		ev, err := p.s.Next()
		switch {
		case err != nil:
		case ev == intake.End && p.s.Depth == 0:
			if err = p.s.Finish(); err == nil {
				return nil
			}
		case ev == intake.Start:
			p.path = append(p.path, p.s.Name)
			err = p.start()
		default:
			done := p.end()
			p.path = p.path[:len(p.path)-1]
			if done {
				if err := yield(p.u); err != nil {
					return err
				}
				p.s.Refill()
			}
		}
		if err != nil {
			return intake.Refused("updateinfo.xml", err)
		}
	}
}

// parser gathers a notice.
type parser struct {
	s    *intake.Scanner
	path []string // of the element that is open, below the root
	u    Update
	n    int // what it lists
}

// at returns the path of the element that is open where it is one that has a meaning.
func (p *parser) at() string { return strings.Join(p.path, "/") }

const (
	inUpdate     = "update"
	inReference  = "update/references/reference"
	inCollection = "update/pkglist/collection"
	inPackage    = "update/pkglist/collection/package"
)

func (p *parser) start() error {
	a := p.s.Attr
	switch p.at() {
	case inUpdate:
		p.u, p.n = Update{From: a("from"), Status: a("status"), Type: a("type"), Version: a("version")}, 0
	case "update/issued":
		p.u.Issued = a("date")
	case "update/updated":
		p.u.Updated = a("date")
	case inReference:
		p.n++
		p.u.References = append(p.u.References, Reference{Href: a("href"), ID: a("id"), Type: a("type"), Title: a("title")})
	case inCollection:
		p.n++
		p.u.Collections = append(p.u.Collections, Collection{Short: a("short")})
	case inCollection + "/module":
		m := &Module{Name: a("name"), Stream: a("stream"), Context: a("context"), Arch: a("arch")}
		var err error
		if m.Version, err = strconv.ParseUint(a("version"), 10, 64); err != nil {
			m.Version, m.NoVersion = 0, a("version")
		}
		p.collection().Module = m
	case inPackage:
		p.n++
		c := p.collection()
		c.Packages = append(c.Packages, Package{Name: a("name"), Version: a("version"), Release: a("release"), Epoch: a("epoch"), Arch: a("arch"), Src: a("src")})
	case inPackage + "/sum":
		p.pkg().SumType = a("type")
	}
	if p.n > maxListed {
		return albs.Errorf(albs.TooLarge, "a notice lists more than %d packages and references", maxListed)
	}
	return nil
}

func (p *parser) collection() *Collection { return &p.u.Collections[len(p.u.Collections)-1] }

func (p *parser) pkg() *Package {
	c := p.collection()
	return &c.Packages[len(c.Packages)-1]
}

// end takes the text of the element that ends, and reports whether it is a notice.
func (p *parser) end() bool {
	at, text := p.at(), strings.TrimSpace(p.s.Text())
	if at == inUpdate {
		return true
	}
	if f, ok := p.flag(at); ok {
		// An empty element says yes, as for createrepo_c; yum's wrote False too.
		*f = !slices.Contains([]string{"false", "0", "no"}, strings.ToLower(text))
		return false
	}
	if f := p.field(at); f != nil {
		*f = text
	}
	return false
}

func (p *parser) field(at string) *string {
	switch at {
	case "update/id":
		return &p.u.ID
	case "update/title":
		return &p.u.Title
	case "update/rights":
		return &p.u.Rights
	case "update/release":
		return &p.u.Release
	case "update/pushcount":
		return &p.u.PushCount
	case "update/severity":
		return &p.u.Severity
	case "update/summary":
		return &p.u.Summary
	case "update/description":
		return &p.u.Description
	case "update/solution":
		return &p.u.Solution
	case "update/message":
		return &p.u.Message
	case inCollection + "/name":
		return &p.collection().Name
	case inPackage + "/filename":
		return &p.pkg().Filename
	case inPackage + "/sum":
		return &p.pkg().Sum
	}
	return nil
}

func (p *parser) flag(at string) (*bool, bool) {
	switch at {
	case "update/reboot_suggested":
		return &p.u.Reboot, true
	case inPackage + "/reboot_suggested":
		return &p.pkg().Reboot, true
	case inPackage + "/restart_suggested":
		return &p.pkg().Restart, true
	case inPackage + "/relogin_suggested":
		return &p.pkg().Relogin, true
	}
	return nil, false
}
