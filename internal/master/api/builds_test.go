package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
)

func TestBuildRequest(t *testing.T) {
	t.Parallel()
	digest := albs.DigestOf(nil)
	const target = `"platforms":[{"name":"el","arch_list":["x86_64"]}]`
	for _, test := range []struct {
		name, body string
		want       build.NewBuild
		refused    string // a part of the message
	}{
		{name: "ours", body: `{` + target + `,"tasks":[{"srpm":"` + string(digest) + `"}],"product":"distro"}`,
			want: build.NewBuild{Product: "distro", Packages: []build.Package{{SRPM: digest}}}},
		{name: "ALBS's with everything empty",
			body: `{` + target + `,"tasks":[{"url":"https://git/x.git","git_ref":"c9","ref_type":1,"mock_options":{}}],"linked_builds":null,"platform_flavors":[],
				"is_secure_boot":false,"mock_options":{"definitions":{},"with":["tests"],"without":[],"yum_exclude":null}}`,
			want: build.NewBuild{Packages: []build.Package{{URL: "https://git/x.git", Ref: "refs/heads/c9"}}, Options: build.Options{With: []string{"tests"}}}},
		{name: "a tag by name", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"v1","ref_type":"git_tag"}]}`,
			want: build.NewBuild{Packages: []build.Package{{URL: "u", Ref: "refs/tags/v1"}}}},
		{name: "no type", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"v1"}]}`, want: build.NewBuild{Packages: []build.Package{{URL: "u", Ref: "v1"}}}},
		{name: "SRPM's URL", body: `{` + target + `,"tasks":[{"url":"https://x/a.src.rpm","git_ref":"","ref_type":3},{"url":"https://x/b.src.rpm"}]}`,
			want: build.NewBuild{Packages: []build.Package{{SRPMURL: "https://x/a.src.rpm"}, {SRPMURL: "https://x/b.src.rpm"}}}},
		{name: "unknown type", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"x","ref_type":9}]}`, refused: "body.tasks[0].ref_type"},
		{name: "nothing to build", body: `{` + target + `,"tasks":[{}]}`, refused: "body.tasks[0].url"},
		{name: "both", body: `{` + target + `,"tasks":[{"url":"u","srpm":"` + string(digest) + `"}]}`, refused: "body.tasks[0].srpm"},
		{name: "no digest", body: `{` + target + `,"tasks":[{"srpm":"abc"}]}`, refused: "body.tasks[0].srpm"},
		{name: "linked builds", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"x"}],"linked_builds":[1,2]}`,
			want: build.NewBuild{Packages: []build.Package{{URL: "u", Ref: "x"}}, Linked: []albs.BuildID{1, 2}}},
		{name: "secure boot", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"x"}],"is_secure_boot":true}`,
			want: build.NewBuild{Packages: []build.Package{{URL: "u", Ref: "x"}}, SecureBoot: true}},
		{name: "all options", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"x","mock_options":{"with":["y"],"yum_exclude":["gcc"]}}],
			"mock_options":{"definitions":{"dist":".x"},"module_enable":["perl:5.32"],"target_arch":"i686","yum_exclude":["make"],"without":["z"]}}`,
			want: build.NewBuild{Packages: []build.Package{{URL: "u", Ref: "x", Options: build.Options{With: []string{"y"}, Excludes: []string{"gcc"}}}},
				Options: build.Options{Without: []string{"z"}, Define: map[string]string{"dist": ".x"}, Excludes: []string{"make"}, Modules: []string{"perl:5.32"}, TargetArch: albs.I686}}},
		{name: "an option of ALBS's that is none here", body: `{` + target + `,"tasks":[{}],"mock_options":{"custom_defs":{"x":"y"}}}`, refused: "body.mock_options.custom_defs isn't supported"},
		{name: "such an option of a task", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"x","mock_options":{"scrub":["x"]}}]}`, refused: "body.tasks[0].mock_options.scrub isn't"},
		{name: "definitions are a list", body: `{` + target + `,"tasks":[{}],"mock_options":{"definitions":["x"]}}`, refused: "body.mock_options.definitions has to be an object"},
		{name: "with is no list", body: `{` + target + `,"tasks":[{}],"mock_options":{"with":"x"}}`, refused: "body.mock_options.with has to be a list"},
		{name: "module", body: `{` + target + `,"tasks":[{"module_name":"perl"}]}`, refused: "body.tasks[0].module_name isn't supported"},
		{name: "independent tasks", body: `{"platforms":[{"name":"el","arch_list":["x86_64"],"independent_tasks":true}],"tasks":[{"url":"u","git_ref":"v1"}]}`,
			want: build.NewBuild{Order: build.Independent, Packages: []build.Package{{URL: "u", Ref: "v1"}}}},
		{name: "independent on one platform", body: `{"platforms":[{"name":"el"},{"name":"el2","independent_tasks":true}],"tasks":[{}]}`, refused: "body.platforms[1].independent_tasks differs"},
		{name: "independent and listed", body: `{"platforms":[{"name":"el","independent_tasks":true}],"tasks":[{}],"order":"listed"}`, refused: "body.order that it is listed"},
		{name: "independent by number", body: `{"platforms":[{"name":"el","independent_tasks":3}],"tasks":[{}]}`, refused: "true or false"},
		{name: "breaks", body: `{` + target + `,"tasks":[{"url":"u","git_ref":"v1"}],"order":"auto","break":["a→b","c -> d"]}`,
			want: build.NewBuild{Order: build.Auto, Break: []build.Break{{Package: "a", Needs: "b"}, {Package: "c", Needs: "d"}}, Packages: []build.Package{{URL: "u", Ref: "v1"}}}},
		{name: "bad break", body: `{` + target + `,"tasks":[{}],"break":["a b"]}`, refused: "body.break[0]"},
	} {
		var n newBuild
		if err := json.Unmarshal([]byte(test.body), &n); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got, err := n.request()
		if test.refused != "" {
			if albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%s: err = %v, want one that says %q", test.name, err, test.refused)
			}
			continue
		}
		test.want.Platforms = []build.Target{{Platform: "el", Arches: []albs.Arch{albs.X8664}}}
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(build.NewBuild{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", test.name, err, diff)
		}
	}
}

func FuzzBuildRequest(f *testing.F) {
	f.Add(`{"platforms":[{"name":"el"}],"tasks":[{"url":"u","git_ref":"v1","ref_type":"git_tag","mock_options":{"with":[]}}],"mock_options":{"with":["x"]},"product_id":1}`)
	f.Add(`{"tasks":[{"srpm":"x","ref_type":{}}],"linked_builds":{" ":[ ]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		var n newBuild
		if json.Unmarshal([]byte(body), &n) != nil {
			return
		}
		b, err := n.request()
		if err != nil && albs.KindOf(err) != albs.Invalid {
			t.Errorf("error of kind %s: %v", albs.KindOf(err), err)
		}
		if err == nil && (len(b.Packages) != len(n.Tasks) || len(b.Platforms) != len(n.Platforms)) {
			t.Errorf("%d tasks and %d platforms became %d and %d", len(n.Tasks), len(n.Platforms), len(b.Packages), len(b.Platforms))
		}
	})
}

// TestFlavours applies a flavour, asks for it in both ways that ALBS has, and builds
// with it.
func TestFlavours(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	srpm := f.upload(t)
	const yaml = "name: extra\nmacros: {vendor: V}\npackages: [vend]\n"
	f.call(t, "maintainer", post, "/api/v1/platform_flavors/", yaml, 403).problem(t)
	if p := f.call(t, "operator", post, "/api/v1/platform_flavors/", "name: x\ncolour: red\n", 400).problem(t); !strings.Contains(p.Detail, "colour") {
		t.Errorf("detail = %q", p.Detail)
	}
	var v delivery.FlavourView
	f.call(t, "operator", post, "/api/v1/platform_flavors/", yaml, 200).into(t, &v)
	f.call(t, "operator", patch, "/api/v1/platform_flavors/", strings.Replace(yaml, "V", "W", 1), 200).into(t, &v)
	if v.ID != 1 || v.Revision != 2 || v.Spec.Macros["vendor"] != "W" || v.Actor == "" {
		t.Errorf("flavour = %+v", v)
	}
	for _, path := range []string{"extra", "1"} {
		f.call(t, "anon", get, "/api/v1/platform_flavors/"+path+"/", nil, 200).into(t, &v)
		if v.Name != "extra" {
			t.Errorf("%s is %+v", path, v)
		}
	}
	f.call(t, "anon", get, "/api/v1/platform_flavors/none/", nil, 404).problem(t)
	var list []delivery.FlavourView
	f.call(t, "anon", get, "/api/v1/platform_flavors/", nil, 200).into(t, &list)
	if len(list) != 1 {
		t.Errorf("list = %+v", list)
	}
	for _, given := range []string{`"extra"`, "1"} {
		var b buildView
		f.call(t, "contributor", post, "/api/v1/builds/", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"`+string(srpm)+`","mock_options":{"with":["x"]}}],
			"platform_flavors":[`+given+`],"mock_options":{"definitions":{"dist":".x"}}}`, 200).into(t, &b)
		if len(b.PlatformFlavors) != 1 || b.PlatformFlavors[0].Name != "extra" || b.PlatformFlavors[0].Revision != 2 || b.MockOptions.Define["dist"] != ".x" ||
			b.Tasks[0].Options == nil || b.Tasks[0].Options.With[0] != "x" {
			t.Errorf("given %s: build = %+v", given, b)
		}
	}
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	srpm := f.upload(t)

	for _, test := range []struct {
		name, body string
		status     int
		detail     string
	}{
		{"no JSON", `{`, 400, ""},
		{"unknown member", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"colour":"red"}`, 422, "body.colour"},
		{"no platforms", `{"platforms":[],"tasks":[{"srpm":"` + string(srpm) + `"}]}`, 422, "body.platforms"},
		{"unknown platform", `{"platforms":[{"name":"elx"}],"tasks":[{"srpm":"` + string(srpm) + `"}]}`, 404, "elx"},
		{"unknown SRPM", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + strings.Repeat("0", 64) + `"}]}`, 404, ""},
		{"unknown product id", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"product_id":77}`, 404, "77"},
		{"a product twice", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"product_id":1,"product":"distro"}`, 400, "product_id"},
		{"unknown flavour's id", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"platform_flavors":[3]}`, 404, "flavour with id 3"},
		{"unknown flavour", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"platform_flavors":["epel"]}`, 404, "epel"},
		{"flavours that are none", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"platform_flavors":{"a":1}}`, 400, "list of names or ids"},
		{"secure boot by one who may not", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"` + string(srpm) + `"}],"is_secure_boot":true}`, 403, "build.secureboot"},
		{"refused address", `{"platforms":[{"name":"el"}],"tasks":[{"url":"https://127.0.0.1:1/x.git","git_ref":"main"}]}`, 403, ""},
		{"too large", `{"platforms":"` + strings.Repeat("x", maxBody) + `"}`, 413, "bytes"},
	} {
		if p := f.call(t, "contributor", post, "/api/v1/builds/", test.body, test.status).problem(t); !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%s: detail = %q, want %q in it", test.name, p.Detail, test.detail)
		}
	}

	b := f.build(t, srpm)
	if b.State != status.Queued || b.Owner.Username != "contributor" || len(b.Products) != 1 || b.Products[0].Name != "distro" || b.Team != "core" {
		t.Errorf("build = %+v", b)
	}
	if len(b.Tasks) != 1 || b.Tasks[0].Status != taskIdle || b.Tasks[0].StatusText != "idle" || b.Tasks[0].Arch != albs.X8664 || b.Tasks[0].Ref.SRPM != string(srpm) {
		t.Fatalf("tasks = %+v", b.Tasks)
	}

	t.Run("idempotency key", func(t *testing.T) {
		var ids [2]albs.BuildID
		for i := range ids {
			req := f.request(t, "contributor", post, "/api/v1/builds/", `{"platforms":[{"name":"el"}],"tasks":[{"srpm":"`+string(srpm)+`"}],"product_id":1}`)
			req.Header.Set("Idempotency-Key", "once")
			var v buildView
			do(t, req).into(t, &v)
			ids[i] = v.ID
			if len(v.Products) != 1 || v.Products[0].Name != "distro" {
				t.Errorf("products = %v", v.Products)
			}
		}
		if ids[0] == 0 || ids[0] != ids[1] {
			t.Errorf("builds %v, want one", ids)
		}
	})

	t.Run("pages", func(t *testing.T) {
		for range 11 {
			f.build(t, srpm)
		}
		seen := map[albs.BuildID]bool{}
		for page, want := range map[int]int{1: 10, 2: 3, 3: 0} {
			var v buildsView
			// ALBS's tools leave the slash out here.
			f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds?pageNumber=%d&created_by=contributor", page), nil, http.StatusOK).into(t, &v)
			if len(v.Builds) != want || v.TotalBuilds != 13 || v.CurrentPage != page {
				t.Errorf("page %d has %d builds of %d, says page %d", page, len(v.Builds), v.TotalBuilds, v.CurrentPage)
			}
			for _, b := range v.Builds {
				if seen[b.ID] || len(b.Tasks) != 1 {
					t.Errorf("build %d is on two pages, or has %d tasks", b.ID, len(b.Tasks))
				}
				seen[b.ID] = true
			}
		}
		var v buildsView
		f.call(t, "anon", get, "/api/v1/builds/?project=nothing", nil, http.StatusOK).into(t, &v)
		if v.Builds == nil || len(v.Builds) != 0 || v.TotalBuilds != 0 {
			t.Errorf("builds of nothing = %+v", v)
		}
		for query, status := range map[string]int{
			"pageNumber=0": 422, "pageNumber=x": 422, "page=1": 422, "released=true": 400, "is_running=true": 400, "platform_id=1": 400, "created_by=7": 400,
		} {
			f.call(t, "anon", get, "/api/v1/builds/?"+query, nil, status).problem(t)
		}
	})

	t.Run("cancel and retry", func(t *testing.T) {
		path := fmt.Sprintf("/api/v1/builds/%d/", b.ID)
		f.call(t, "signer", patch, path+"cancel", nil, http.StatusForbidden).problem(t)
		var v buildView
		f.call(t, "contributor", patch, path+"cancel", "{}", http.StatusOK).into(t, &v)
		if v.State != status.Cancelled || v.Tasks[0].Status != taskCancelled || v.FinishedAt == nil {
			t.Errorf("cancelled build = %s, task %d, finished %v", v.State, v.Tasks[0].Status, v.FinishedAt)
		}
		f.call(t, "contributor", patch, path+"cancel", nil, http.StatusConflict).problem(t)
		f.call(t, "contributor", patch, path+"restart-failed", nil, http.StatusOK).into(t, &v)
		if v.State != status.Queued {
			t.Errorf("restarted build is %s", v.State)
		}
		task := fmt.Sprintf("%stasks/%d/", path, b.Tasks[0].ID)
		f.call(t, "contributor", post, task+"retry", nil, http.StatusConflict).problem(t)
		f.call(t, "contributor", post, path+"tasks/99999/retry", nil, http.StatusNotFound).problem(t)
		var one taskView
		f.call(t, "anon", get, task, nil, http.StatusOK).into(t, &one)
		if one.ID != b.Tasks[0].ID || one.Logs != task+"logs/" {
			t.Errorf("task = %+v", one)
		}
		f.call(t, "anon", get, path+"tasks/99999/", nil, http.StatusNotFound).problem(t)
		f.call(t, "anon", get, "/api/v1/builds/99999/", nil, http.StatusNotFound).problem(t)
		f.call(t, "anon", get, "/api/v1/builds/x/", nil, http.StatusUnprocessableEntity).problem(t)
	})

	t.Run("queue and tests", func(t *testing.T) {
		var stats []statView
		f.call(t, "anon", get, "/api/v1/queue/", nil, http.StatusOK).into(t, &stats)
		if len(stats) == 0 || stats[0].Kind != albs.KindBuild {
			t.Errorf("queue = %+v", stats)
		}
		var runs []runView
		f.call(t, "anon", get, fmt.Sprintf("/api/v1/tests/build/%d/", b.ID), nil, http.StatusOK).into(t, &runs)
		if runs == nil || len(runs) != 0 {
			t.Errorf("runs = %v", runs)
		}
		f.call(t, "anon", get, fmt.Sprintf("/api/v1/tests/%d/latest", b.Tasks[0].ID), nil, http.StatusNotFound).problem(t)
		f.call(t, "contributor", put, fmt.Sprintf("/api/v1/tests/build/%d/restart", b.ID), nil, http.StatusConflict).problem(t)
	})
}

func TestUpload(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	raw, err := os.ReadFile(srpmFile)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(srpmFile)
	form := func(field, file string) (io.Reader, string) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		_ = m.WriteField("note", "before the file")
		if file != "" {
			part, err := m.CreateFormFile(field, file)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = part.Write(raw)
		}
		_ = m.Close()
		return &b, m.FormDataContentType()
	}
	want := uploadView{Digest: albs.DigestOf(raw), Name: name, Size: int64(len(raw)), NEVRA: "albs-rich-2:1.0~rc1-3.el9.src"}
	for _, test := range []struct {
		name, query string
		body        io.Reader
		kind        string
		status      int
	}{
		{name: "raw", query: "?name=" + name, body: bytes.NewReader(raw), status: 201},
		{name: "form", status: 201},
		{name: "form without a file", status: 400},
		{name: "no name", body: bytes.NewReader(raw), status: 400},
		{name: "wrong name", query: "?name=other-1-1.src.rpm", body: bytes.NewReader(raw), status: 400},
		{name: "a path for a name", query: "?name=../" + name, body: bytes.NewReader(raw), status: 400},
		{name: "no RPM", query: "?name=" + name, body: strings.NewReader("no rpm at all"), status: 400},
		{name: "cut off", query: "?name=" + name, body: bytes.NewReader(raw[:len(raw)/2]), status: 400},
		{name: "bad content type", query: "?name=" + name, body: bytes.NewReader(raw), kind: "a/b/c;", status: 400},
	} {
		switch test.name {
		case "form":
			test.body, test.kind = form("file", name)
		case "form without a file":
			test.body, test.kind = form("file", "")
		}
		req := f.request(t, "contributor", post, "/api/v1/uploads/srpm"+test.query, test.body)
		if test.kind != "" {
			req.Header.Set("Content-Type", test.kind)
		}
		a := do(t, req)
		if a.StatusCode != test.status {
			t.Errorf("%s = %s, want %d: %s", test.name, a.Status, test.status, a.body)
			continue
		}
		if test.status != 201 {
			a.problem(t)
			continue
		}
		var got uploadView
		a.into(t, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// TestBuildOrder: the order of a build is shown, items are changed by themselves, and a
// build is done once more and deleted.
func TestBuildOrder(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	srpm := f.upload(t)
	var b buildView
	f.call(t, "contributor", post, "/api/v1/builds/", map[string]any{
		"platforms": []any{map[string]any{"name": "el"}}, "tasks": []any{map[string]any{"srpm": srpm}, map[string]any{"srpm": srpm}}, "order": "listed",
	}, http.StatusOK).into(t, &b)
	path := fmt.Sprintf("/api/v1/builds/%d", b.ID)
	if b.Order != build.Listed || len(b.Items) != 2 || b.Items[1].State != status.Queued || b.Items[1].Tasks[0] != b.Tasks[1].ID || !strings.HasPrefix(b.Tasks[1].Reason, "waits for ") {
		t.Errorf("build = %+v", b)
	}
	var graphs []graphView
	f.call(t, "anon", get, path+"/graph", nil, http.StatusOK).into(t, &graphs)
	if len(graphs) != 1 || len(graphs[0].Nodes) != 2 || len(graphs[0].Edges) != 1 || graphs[0].Edges[0].From != graphs[0].Nodes[1].ID || graphs[0].Nodes[1].Task != b.Tasks[1].ID {
		t.Errorf("graphs = %+v", graphs)
	}
	var schedule []scheduledView
	f.call(t, "anon", get, path+"/schedule", nil, http.StatusOK).into(t, &schedule)
	if len(schedule) != 2 || schedule[1].After[0] != b.Tasks[0].ID || schedule[0].ReadyAt == nil || schedule[1].ReadyAt != nil {
		t.Errorf("schedule = %+v", schedule)
	}
	item := func(i int, what string) string { return fmt.Sprintf("%s/items/%d/%s", path, b.Items[i].ID, what) }
	f.call(t, "contributor", patch, item(0, "fresh"), "{}", http.StatusBadRequest)
	f.call(t, "contributor", patch, item(0, "cancel"), "{}", http.StatusOK).into(t, &b)
	if b.Items[0].State != status.Cancelled || !b.Items[0].Dropped || b.Items[1].State != status.Queued || b.Tasks[1].State != albs.TaskQueued {
		t.Errorf("items = %+v", b.Items)
	}
	f.call(t, "contributor", patch, item(0, "cancel"), "{}", http.StatusConflict)
	f.call(t, "contributor", patch, path+"/items/4711/cancel", "{}", http.StatusNotFound)

	var clone buildView
	f.call(t, "contributor", post, path+"/clone", `{"fresh":true}`, http.StatusOK).into(t, &clone)
	if clone.ID == b.ID || clone.Order != build.Listed || len(clone.Items) != 2 {
		t.Errorf("clone = %+v", clone)
	}
	f.call(t, "contributor", remove, path+"/remove", nil, http.StatusNoContent)
	for _, p := range []string{path + "/", path + "/graph", path + "/schedule"} {
		if p := f.call(t, "anon", get, p, nil, http.StatusNotFound).problem(t); !strings.Contains(p.Detail, "was deleted by contributor at") {
			t.Errorf("of a deleted build: %q", p.Detail)
		}
	}
}
