package api

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/db"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
)

// zeros is a file without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestRecords(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	const (
		comps   = "<comps><group><id>core</id></group></comps>"
		modules = "document: modulemd-defaults\nversion: 1\ndata: {module: a}\n"
		records = "/api/v1/products/distro/metadata/"
		os      = "?repository=BaseOS/x86_64/os"
	)
	// held lists what there is, as "repository type file…".
	held := func(query string) []string {
		t.Helper()
		var list []delivery.RecordView
		f.call(t, "anon", get, records+query, nil, 200).into(t, &list)
		out := []string{}
		for _, r := range list {
			line := r.Repository + " " + r.Type
			for _, file := range r.Files {
				line += " " + file.Name
				f.call(t, "anon", get, delivery.DownloadPath(file.Digest), nil, 200)
			}
			out = append(out, line)
		}
		return out
	}
	for _, test := range []struct {
		who, method, path string
		body              any
		status            int
		detail            string
	}{
		{"contributor", post, records + "group" + os, comps, 403, "release.plan"},
		{"maintainer", post, records + "group", comps, 400, "no repository"},
		{"maintainer", post, records + "group?repository=x", comps, 400, "no repository"},
		{"maintainer", post, records + "primary" + os, comps, 400, "primary"},
		{"maintainer", post, records + "group" + os, "<!DOCTYPE x><comps/>", 400, "document type"},
		{"maintainer", post, "/api/v1/products/none/metadata/group" + os, comps, 404, "none"},
		{"maintainer", "DELETE", records + "group" + os, nil, 404, "no record"},
		{"maintainer", post, "/api/v1/releases/new/", `{"builds":[],"product":"distro"}`, 400, "name the builds"},
		{"maintainer", post, "/api/v1/releases/new/", `{"builds":[1],"product":"distro","copy":{"product":"other"}}`, 400, "body.copy takes the place of body.builds"},
		{"maintainer", post, "/api/v1/releases/new/", `{"builds":[],"product":"distro","copy":{"product":"distro"}}`, 400, "can't be copied into itself"},
		{"maintainer", post, "/api/v1/releases/new/", `{"builds":[],"product":"distro","copy":{"product":"none"}}`, 404, "there is no product"},
	} {
		p := f.call(t, test.who, test.method, test.path, test.body, test.status).problem(t)
		if !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%s %s: detail = %q", test.method, test.path, p.Detail)
		}
	}
	cut := f.request(t, "maintainer", post, records+"group"+os, comps)
	cut.Body = io.NopCloser(io.MultiReader(strings.NewReader(comps), zeros{}))
	cut.ContentLength = record.MaxBytes + 1
	if a := do(t, cut); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a file without end: %s: %s", a.Status, a.body)
	}
	if got := held(""); len(got) > 0 {
		t.Errorf("what was refused is there: %v", got)
	}
	f.call(t, "maintainer", post, records+"group"+os, comps, 200)

	// As ALBS's clients send it.
	form := func(repository string, files map[string]string) *http.Request {
		t.Helper()
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for field, text := range files {
			part, err := m.CreateFormFile(field, field)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = part.Write([]byte(text))
		}
		_ = m.WriteField("repository", repository)
		_ = m.Close()
		req := f.request(t, "maintainer", post, "/api/v1/uploads/upload_repometada/", &b)
		req.Header.Set("Content-Type", m.FormDataContentType())
		return req
	}
	for name, test := range map[string]struct {
		req    *http.Request
		status int
	}{
		"both":            {form("distro/BaseOS/source", map[string]string{"comps": comps, "modules": modules}), 200},
		"no file":         {form("distro/BaseOS/source", map[string]string{"other": comps}), 400},
		"no repository":   {form("", map[string]string{"comps": comps}), 400},
		"another one":     {form("distro/none", map[string]string{"comps": comps}), 400},
		"a broken file":   {form("distro/BaseOS/x86_64/os", map[string]string{"comps": comps, "modules": "x"}), 400},
		"not a form":      {f.request(t, "maintainer", post, "/api/v1/uploads/upload_repometada/", comps), 400},
		"of a stranger's": {f.request(t, "contributor", post, "/api/v1/uploads/upload_repometada/", comps), 403},
	} {
		if a := do(t, test.req); a.StatusCode != test.status {
			t.Errorf("%s: %s, want %d: %s", name, a.Status, test.status, a.body)
		}
	}
	want := []string{"BaseOS/source group comps.xml comps.xml.gz", "BaseOS/source modules modules.yaml.gz", "BaseOS/x86_64/os group comps.xml comps.xml.gz"}
	if diff := cmp.Diff(want, held("")); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	var r delivery.ReleaseView
	f.call(t, "maintainer", post, "/api/v1/releases/new/", `{"builds":[],"product":"distro"}`, 201).into(t, &r)
	changed := 0
	for _, p := range r.Plan.Repositories {
		changed += len(p.Records)
	}
	if changed != 5 {
		t.Errorf("the plan tells of %d records, want 5: %+v", changed, r.Plan)
	}
	f.call(t, "maintainer", "DELETE", records+"group"+os, nil, 204)
	if diff := cmp.Diff(want[:2], held("?repository=BaseOS/source")); diff != "" {
		t.Errorf("records of a repository (-want +got):\n%s", diff)
	}
	if got := held(os); len(got) > 0 {
		t.Errorf("after its removal there is %v", got)
	}
}

// TestRepositories: what a product showed is asked for by name and moment.
func TestRepositories(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	const show, diff = "/api/v1/repositories/show", "/api/v1/repositories/diff"
	repos, ctx := repo.New(f.db, f.Artifacts, f.Events), t.Context()
	for serial := int64(1); serial <= 2; serial++ {
		var records []repodata.Record
		if serial == 2 {
			records = []repodata.Record{{Type: "group", Name: "comps.xml", Digest: albs.DigestOf([]byte("x")), Size: 1}}
		}
		s, err := repodata.Extend(ctx, repos.Blobs(), nil, repodata.Change{Records: records}, serial)
		if err != nil {
			t.Fatal(err)
		}
		tree := repodata.Tree{Product: "distro", Serial: serial, Repositories: []repodata.TreeRepo{{Path: "os", Snapshot: s.Digest()}}}
		doc, err := repos.SaveTree(ctx, tree)
		if err == nil {
			tree, err = repos.ReadTree(ctx, doc)
		}
		if err == nil {
			err = f.db.InTx(ctx, func(tx db.Tx) error { return repos.AdvanceTree(ctx, tx, "distro", serial-1, tree, doc) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var held delivery.HeldView
	f.call(t, "anon", get, show+"?repository=distro/os", nil, 200).into(t, &held)
	if held.Serial != 2 || len(held.Records) != 1 || held.Packages == nil {
		t.Errorf("now it holds %+v", held)
	}
	f.call(t, "anon", get, show+"?repository=distro/os@1", nil, 200).into(t, &held)
	if held.Serial != 1 || len(held.Records) != 0 {
		t.Errorf("at serial 1 it held %+v", held)
	}
	var changes delivery.DiffView
	f.call(t, "anon", get, diff+"?from=distro/os@1&to=distro/os", nil, 200).into(t, &changes)
	if changes.From.Serial != 1 || changes.To.Serial != 2 || len(changes.Records) != 1 || changes.Records[0].What != history.Added || changes.Packages == nil {
		t.Errorf("the diff is %+v", changes)
	}
	for path, status := range map[string]int{
		show:                                    422,
		show + "?repository=distro":             400,
		show + "?repository=distro/os@x":        400,
		show + "?repository=distro/os@7":        404,
		diff + "?from=distro/os":                422,
		diff + "?from=distro/os&to=distro/os@3": 404,
	} {
		f.call(t, "anon", get, path, nil, status).problem(t)
	}
}

// TestFormsThatDontFit: a form that is too long says so, and so does a temporary folder
// in which it has no room; neither is taken for a form that is malformed.
func TestFormsThatDontFit(t *testing.T) {
	f := setup(t, Config{})
	f.catalog(t)
	// form is one of which the file of comps has so many bytes, and the repository's name.
	form := func(comps, repository int64) *http.Request {
		t.Helper()
		var head, tail bytes.Buffer
		m := multipart.NewWriter(&head)
		_, err := m.CreateFormFile("comps", "comps.xml")
		if err != nil {
			t.Fatal(err)
		}
		end := multipart.NewWriter(&tail)
		if err := errors.Join(end.SetBoundary(m.Boundary()), end.WriteField("repository", strings.Repeat("x", int(repository))), end.Close()); err != nil {
			t.Fatal(err)
		}
		length := int64(head.Len()+2+tail.Len()) + comps
		req := f.request(t, "maintainer", post, "/api/v1/uploads/upload_repometada/", io.MultiReader(&head, io.LimitReader(zeros{}, comps), strings.NewReader("\r\n"), &tail))
		req.ContentLength = length
		req.Header.Set("Content-Type", m.FormDataContentType())
		return req
	}
	const file = 8<<20 + 1<<16 // more than is held in memory, and by little
	for name, test := range map[string]struct {
		req    *http.Request
		detail string
	}{
		"a file":  {form(2*record.MaxBytes+1, 20), "more than 134217728 bytes"},
		"a field": {form(10, 19<<20), "a field of the form is too long"},
	} {
		a := do(t, test.req)
		if p := a.problem(t); a.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%s that is too long: %s: %s", name, a.Status, a.body)
		}
	}
	if a := do(t, form(file, 20)); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a file for no repository: %s: %s", a.Status, a.body)
	}
	if os.Getuid() != 0 {
		t.Skip("the rest needs a small disk, which only root can mount")
	}
	dir := t.TempDir()
	err := unix.Mount("albs-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m")
	if errors.Is(err, unix.EPERM) {
		t.Skip("the rest needs a small disk, which root can't mount here")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	a := do(t, form(file, 20))
	if p := a.problem(t); a.StatusCode != http.StatusInsufficientStorage || !strings.Contains(p.Detail, "the disk is full") {
		t.Errorf("with a full temporary folder: %s: %s", a.Status, a.body)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("in the temporary folder are %v, %v", left, err)
	}
}
