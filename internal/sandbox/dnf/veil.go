package dnf

import (
	"bytes"
	"io"
	"net/url"
	"strings"
)

// minSecret is how long the first folder of an address is at least that is taken for a
// secret: shorter words may stand in what dnf says of other things.
const minSecret = 16

// hidden is what stands in the place of a secret.
const hidden = "-"

// Veil is an io.Writer that passes on what dnf says, without the secrets by which it
// reaches its repositories: dnf names whole addresses where something can't be had, and
// logs are for everybody. A secret is the first folder of an http address.
type Veil struct {
	w       io.Writer
	secrets [][]byte
	held    []byte // what may be the beginning of a secret
}

// NewVeil returns a Veil of the secrets of repos before w.
func NewVeil(w io.Writer, repos []Repo) *Veil {
	v := &Veil{w: w}
	for _, r := range repos {
		u, err := url.Parse(r.BaseURL)
		if err != nil || u.Scheme != "http" {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
		if len(first) >= minSecret {
			v.secrets = append(v.secrets, []byte(first))
		}
	}
	return v
}

// Write implements io.Writer. It keeps the end of what may be a secret's beginning until
// more comes, or Flush.
func (v *Veil) Write(p []byte) (int, error) {
	v.held = append(v.held, p...)
	for _, s := range v.secrets {
		v.held = bytes.ReplaceAll(v.held, s, []byte(hidden))
	}
	keep := 0
	for _, s := range v.secrets {
		for n := min(len(s)-1, len(v.held)); n > keep; n-- {
			if bytes.HasSuffix(v.held, s[:n]) {
				keep = n
			}
		}
	}
	return len(p), v.pass(keep)
}

// Flush passes on what is kept.
func (v *Veil) Flush() error { return v.pass(0) }

// pass passes on all but the last bytes.
func (v *Veil) pass(keep int) error {
	n := len(v.held) - keep
	if n == 0 {
		return nil
	}
	_, err := v.w.Write(v.held[:n])
	v.held = append(v.held[:0], v.held[n:]...)
	return err
}
