package platform

import (
	"maps"
	"regexp"
	"slices"
)

// Reproducible is what a platform asks of rpmbuild so that a build that is done again comes
// out the same. What isn't set is as the platform's own macros have it.
type Reproducible struct {
	// FromChangelog takes SOURCE_DATE_EPOCH from the newest entry of the changelog.
	FromChangelog bool `yaml:"source_date_epoch_from_changelog" json:"source_date_epoch_from_changelog,omitempty"`
	// ClampMtime gives no file of a package a later time than that.
	ClampMtime bool `yaml:"clamp_mtime_to_source_date_epoch" json:"clamp_mtime_to_source_date_epoch,omitempty"`
	// BuildTime makes it the time at which the package says that it was built.
	BuildTime bool `yaml:"use_source_date_epoch_as_buildtime" json:"use_source_date_epoch_as_buildtime,omitempty"`
	// BuildHost is the host on which the package says that it was built.
	BuildHost string `yaml:"buildhost" json:"buildhost,omitempty"`
}

// hostForm is a host's name as RFC 1123 has it.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62})){0,8}$`)

// macros are rpm's for r, name → body. Which of the two about times of files an rpm
// knows depends on its version: since 4.20 it is build_mtime_policy.
func (r Reproducible) macros() map[string]string {
	out := map[string]string{}
	if r.FromChangelog {
		out["source_date_epoch_from_changelog"] = "1"
	}
	if r.ClampMtime {
		out["clamp_mtime_to_source_date_epoch"] = "1"
		out["build_mtime_policy"] = "clamp_to_source_date_epoch"
	}
	if r.BuildTime {
		out["use_source_date_epoch_as_buildtime"] = "1"
	}
	if r.BuildHost != "" {
		out["_buildhost"] = r.BuildHost
	}
	return out
}

// checkReproducible refuses a host that is none, and a macro that macros says otherwise.
func (s Spec) checkReproducible(bad refuse) error {
	r := s.Reproducible
	if r.BuildHost != "" && !hostForm.MatchString(r.BuildHost) {
		return bad("reproducible.buildhost %.80q is not the name of a host", r.BuildHost)
	}
	for _, name := range slices.Sorted(maps.Keys(r.macros())) {
		if _, twice := s.Macros[name]; twice {
			return bad("macros sets %s, which reproducible does: say it in one of them", name)
		}
		if _, twice := s.SecureBootMacros[name]; twice {
			return bad("secure_boot_macros sets %s, which reproducible does", name)
		}
	}
	return nil
}
