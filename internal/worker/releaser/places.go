package releaser

import (
	"context"
	"fmt"
	"io"
	"path"

	"albs/internal/albs"
	"albs/internal/worker/releaser/laid"
)

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c Config) Check() error {
	if err := laid.CheckURL("releaser.url", c.URL); err != nil {
		return err
	}
	if c.TrustFile != "" {
		if _, _, err := c.trust(); err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for i, p := range c.Places {
		at := fmt.Sprintf("releaser.places[%d]", i)
		if err := p.Check(at); err != nil {
			return err
		}
		if names[p.Name] {
			return albs.Errorf(albs.Invalid, "%s: there is another place %s", at, p.Name)
		}
		names[p.Name] = true
	}
	return nil
}

// Warnings returns what an operator should know of the configuration of a releaser apart
// from its master: sentences, none if all is well.
func (c Config) Warnings() []string {
	if c.TrustFile == "" {
		return []string{noTrust + ": packages get no verification summaries, which say that the releaser verified them"}
	}
	return nil
}

// directory is the place in this host's directory as a target: what it lays comes from
// the master.
type directory struct {
	*place
	t   laid.Tree
	src source
	log io.Writer
}

func (d directory) Shown(context.Context) (int64, albs.Digest, error) { return d.place.shown() }

func (d directory) Lay(ctx context.Context, shown int64) error {
	return d.place.lay(ctx, d.t.Tree, d.t.Doc, shown, d.src, d.log)
}

func (d directory) Show(context.Context) error { return d.place.show(d.t.Serial) }

// Settle syncs the link, which may be younger than the last sync.
func (d directory) Settle(context.Context) error {
	d.dirty["."] = struct{}{}
	return d.sync()
}

// location is where a product is reached in the directory.
func location(product string) string { return path.Join(product, "current") }
