package advisories

import (
	"strconv"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
)

// AdvisoryView is an advisory, with ALBS's members and then ours.
type AdvisoryView struct {
	ID                  string                  `json:"id"`
	PlatformID          int64                   `json:"platform_id"`
	Freezed             bool                    `json:"freezed" doc:"Automatic matching leaves it alone"`
	IsOwn               bool                    `json:"is_issued_by_almalinux" doc:"It is of the distribution's own series"`
	Issued              time.Time               `json:"issued_date"`
	Updated             time.Time               `json:"updated_date"`
	Title               string                  `json:"title" doc:"With its severity before it"`
	OriginalTitle       string                  `json:"original_title"`
	OvalTitle           string                  `json:"oval_title"`
	Description         string                  `json:"description"`
	OriginalDescription string                  `json:"original_description"`
	Summary             string                  `json:"summary"`
	Solution            string                  `json:"solution"`
	Module              *string                 `json:"module" doc:"name:stream, if all packages are of one"`
	Status              string                  `json:"status"`
	Version             string                  `json:"version" doc:"That the next release would publish"`
	Severity            string                  `json:"severity"`
	Rights              string                  `json:"rights"`
	ContactMail         string                  `json:"contact_mail"`
	References          []AdvisoryReferenceView `json:"references"`
	Packages            []WantedPackageView     `json:"packages" doc:"What it wants"`
	ReleaseStatus       string                  `json:"release_status"`
	LastReleaseLog      string                  `json:"last_release_log"`

	Platform  string             `json:"platform"`
	Revision  int64              `json:"revision" doc:"A change names the revision that it rests on"`
	Type      advisory.Type      `json:"type"`
	Published int                `json:"published_version" doc:"The newest version that is public; 0 for none"`
	ShownBy   []ShowingView      `json:"shown_by" doc:"The products that show it"`
	Pending   bool               `json:"pending" doc:"A release would publish something of it"`
	ReleaseID albs.ReleaseID     `json:"release_id" doc:"The release that published it last or has it; 0 for none"`
	Builds    []albs.BuildID     `json:"builds"`
	CreatedAt time.Time          `json:"created_at"`
	ChangedAt time.Time          `json:"changed_at"`
	Advisory  advisory.Advisory  `json:"advisory" doc:"As it is edited, whole"`
	Original  *advisory.Advisory `json:"original,omitempty" doc:"As it came in; lists leave it out"`
}

// ShowingView is a product that shows an advisory.
type ShowingView struct {
	Product string `json:"product"`
	Version int    `json:"version"`
}

// AdvisoryReferenceView is a reference as ALBS has it.
type AdvisoryReferenceView struct {
	ID    int              `json:"id"`
	Href  string           `json:"href"`
	RefID string           `json:"ref_id"`
	Type  string           `json:"ref_type"`
	Title string           `json:"title"`
	CVE   *AdvisoryCVEView `json:"cve"`
}

// AdvisoryCVEView is a CVE as ALBS has it.
type AdvisoryCVEView struct {
	ID     string `json:"id"`
	CVSS3  string `json:"cvss3"`
	CWE    string `json:"cwe"`
	Impact string `json:"impact"`
	Public string `json:"public"`
}

// WantedPackageView is a package that an advisory wants.
type WantedPackageView struct {
	ID         int                  `json:"id"`
	Name       string               `json:"name"`
	Version    string               `json:"version"`
	Release    string               `json:"release"`
	Epoch      int                  `json:"epoch"`
	Arch       string               `json:"arch"`
	SourceSRPM *string              `json:"source_srpm"`
	Reboot     bool                 `json:"reboot_suggested"`
	Module     string               `json:"module,omitempty"`
	Matches    []MatchedPackageView `json:"albs_packages"`
}

// MatchedPackageView is a package that answers one.
type MatchedPackageView struct {
	ID         int           `json:"id"`
	ArtifactID *int64        `json:"albs_artifact_id"`
	BuildID    *albs.BuildID `json:"build_id"`
	TaskID     *albs.TaskID  `json:"task_id"`
	Name       string        `json:"name"`
	Status     string        `json:"status"`
}

func viewRecord(r errata.Record, platformID int64) AdvisoryView {
	a := r.Advisory
	v := AdvisoryView{
		ID: r.ID, PlatformID: platformID, Freezed: r.Frozen, IsOwn: r.Own, Issued: a.Issued, Updated: a.Updated,
		Title: a.FullTitle(), OriginalTitle: r.Original.FullTitle(), OvalTitle: a.ID + ": " + a.Title + " (" + a.Severity.Title() + ")",
		Description: a.Description, OriginalDescription: r.Original.Description, Summary: a.Summary, Solution: a.Solution, Module: oneModule(a),
		Status: "final", Version: strconv.Itoa(a.Version), Severity: a.Severity.Title(), Rights: a.Rights, ContactMail: a.From,
		References: []AdvisoryReferenceView{}, Packages: []WantedPackageView{}, ReleaseStatus: r.State.String(), LastReleaseLog: r.Reason,
		Platform: r.Platform, Revision: r.Revision, Type: a.Type, Published: r.Shown, Pending: r.Pending, ReleaseID: r.Release, Builds: r.Builds,
		CreatedAt: r.Created, ChangedAt: r.Changed, Advisory: a,
	}
	v.ShownBy = make([]ShowingView, len(r.ShownBy))
	for i, s := range r.ShownBy {
		v.ShownBy[i] = ShowingView(s)
	}
	if v.Builds == nil {
		v.Builds = []albs.BuildID{}
	}
	cves := map[string]advisory.CVE{}
	for _, c := range a.CVEs {
		cves[c.ID] = c
	}
	for i, x := range a.AllReferences() {
		ref := AdvisoryReferenceView{ID: i + 1, Href: x.URL, RefID: x.ID, Type: string(x.Kind), Title: x.Title}
		if c, ok := cves[x.ID]; ok && x.Kind == advisory.ToCVE {
			ref.CVE = viewCVE(c)
		}
		v.References = append(v.References, ref)
	}
	for i, p := range a.Packages {
		pkg := WantedPackageView{ID: i + 1, Name: p.Name, Version: p.Version, Release: p.Release, Epoch: p.Epoch, Arch: p.Arch, Reboot: p.Reboot, Matches: []MatchedPackageView{}}
		if p.Source != "" {
			pkg.SourceSRPM = &p.Source
		}
		if p.Module != nil {
			pkg.Module = p.Module.Name + ":" + p.Module.Stream
		}
		v.Packages = append(v.Packages, pkg)
	}
	return v
}

func viewCVE(c advisory.CVE) *AdvisoryCVEView {
	v := AdvisoryCVEView{ID: c.ID, Impact: c.Impact.Title()}
	for _, s := range c.Scores {
		if len(s.Vector) > 7 && s.Vector[:7] == "CVSS:3." {
			v.CVSS3 = s.Vector
			break
		}
	}
	if len(c.CWEs) > 0 {
		v.CWE = c.CWEs[0]
	}
	if t := rest.TimeOf(c.Public); t != nil {
		v.Public = t.Format(time.RFC3339)
	}
	return &v
}

// oneModule returns the stream of the module that all packages are of; nil if there is
// none.
func oneModule(a advisory.Advisory) *string {
	groups := a.ByModule()
	if len(groups) != 1 || groups[0].Stream == "" {
		return nil
	}
	return &groups[0].Stream
}
