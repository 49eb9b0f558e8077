package source

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
)

// maxURL bounds the URL of an SRPM.
const maxURL = 2000

// SRPM fetches the source package at rawURL, once and through egress, and returns what
// it is; no row is written. Every rebuild is of these bytes, whatever the place shows
// later. Errors: Invalid (no https URL of a .src.rpm, or not such a package),
// Forbidden (egress), NotFound, TooLarge, Unavailable. The bytes are durable on return.
func (s *Sources) SRPM(ctx context.Context, rawURL string) (artifact.Artifact, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil || len(rawURL) > maxURL:
		return artifact.Artifact{}, albs.Errorf(albs.Invalid, "%.200q is not a URL", rawURL)
	case u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, ".src.rpm"):
		return artifact.Artifact{}, albs.Errorf(albs.Invalid, "%.200q is not the https URL of an SRPM, without a user and a query and with .src.rpm at its end", u.Redacted())
	}
	body, _, err := s.egress.Get(ctx, rawURL, s.limits.File)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer body.Close()
	a, err := s.artifacts.Save(ctx, body, s.limits.File, path.Base(u.Path), artifact.SRPM)
	if err != nil {
		return a, fmt.Errorf("the SRPM at %s: %w", rawURL, err)
	}
	return a, nil
}
