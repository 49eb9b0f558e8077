package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/master/db"
)

// TestTestRepositories: everybody may read them, those of a team its maintainers may
// change, and what is mapped comes and goes in bulk.
func TestTestRepositories(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	const path = "/api/v1/test_repositories/"
	body := `{"name":"t","url":"https://127.0.0.1:9/t.git","git_ref":"main","tests_dir":"tests/","tests_prefix":"p_","team":"core"}`
	f.call(t, "contributor", post, path+"create/", body, http.StatusForbidden).problem(t)
	f.call(t, "maintainer", post, path+"create/", strings.Replace(body, "core", "", 1), http.StatusForbidden).problem(t)
	if p := f.call(t, "maintainer", post, path+"create/", body, http.StatusForbidden).problem(t); !strings.Contains(p.Detail, "127.0.0.1") {
		t.Errorf("an address that egress refuses: %+v", p)
	}
	for from, to := range map[string]string{`"main"`: `"$(id)"`, `tests/"`: `tests"`, "https://": "https://me:secret@"} {
		if p := f.call(t, "maintainer", post, path+"create/", strings.Replace(body, from, to, 1), http.StatusBadRequest).problem(t); strings.Contains(p.Detail, "secret") {
			t.Errorf("a secret comes back: %s", p.Detail)
		}
	}

	// What would have to be fetched is in the database.
	for i := range 11 {
		if _, err := f.db.ExecContext(t.Context(), `INSERT INTO test_repository (name, url, ref, tests_dir, tests_prefix, team, actor, created_at, commit_id, scanned_at, failure)
			VALUES ($1, 'https://127.0.0.1:9/t.git', $1, 'tests/', 'p_', 'core', 'user:ada', $2, '', $2, '')`, fmt.Sprintf("t%02d", i), db.Now()); err != nil {
			t.Fatal(err)
		}
	}
	type repository struct {
		ID       int64
		Name     string
		URL      string
		Dir      string `json:"tests_dir"`
		Prefix   string `json:"tests_prefix"`
		Team     string
		Failure  string
		Total    int `json:"total_packages"`
		Packages []struct {
			ID      int64
			Package string `json:"package_name"`
			Folder  string `json:"folder_name"`
			URL     string
			Regex   string
		}
	}
	var all []repository
	f.call(t, "anon", get, path, nil, http.StatusOK).into(t, &all)
	if len(all) != 11 || all[0].Name != "t00" || all[0].Dir != "tests/" || all[0].Prefix != "p_" {
		t.Fatalf("the list is %+v", all)
	}
	var page struct {
		List  []repository `json:"test_repositories"`
		Total int          `json:"total_test_repositories"`
		Page  int          `json:"current_page"`
	}
	f.call(t, "anon", get, path+"?pageNumber=2&name=t", nil, http.StatusOK).into(t, &page)
	if len(page.List) != 1 || page.Total != 11 || page.Page != 2 || page.List[0].Name != "t10" {
		t.Errorf("the second page is %+v", page)
	}

	one := fmt.Sprintf("%s%d/", path, all[0].ID)
	mapping := `{"package_name":"bash","folder_name":"p_bash","url":"https://127.0.0.1:9/t.git"}`
	f.call(t, "contributor", post, one+"packages/create/", mapping, http.StatusForbidden).problem(t)
	f.call(t, "maintainer", post, one+"packages/create/", mapping, http.StatusCreated)
	f.call(t, "maintainer", post, one+"packages/bulk_create/", `[{"package_name":"zsh","folder_name":"p_zsh"},{"package_name":"a b","folder_name":"x"}]`, http.StatusBadRequest).problem(t)
	f.call(t, "maintainer", post, one+"packages/bulk_create/", `[{"package_name":"zsh","folder_name":"p_zsh"},{"regex":"python3.*","folder_name":"p_python"},`+mapping+`]`, http.StatusCreated)
	var shown repository
	f.call(t, "anon", get, one, nil, http.StatusOK).into(t, &shown)
	var got []string
	var ids []int64
	for _, m := range shown.Packages {
		got, ids = append(got, m.Package+" "+m.Folder+" "+m.Regex+" "+m.URL), append(ids, m.ID)
	}
	want := []string{"bash p_bash  https://127.0.0.1:9/t.git", "python3.* p_python python3.* https://127.0.0.1:9/t.git", "zsh p_zsh  https://127.0.0.1:9/t.git"}
	if diff := cmp.Diff(want, got); diff != "" || shown.Total != 3 {
		t.Fatalf("mapped, %d in all (-want +got):\n%s", shown.Total, diff)
	}
	var found struct {
		Total int `json:"total_packages"`
	}
	f.call(t, "anon", get, one+"packages/?search=python", nil, http.StatusOK).into(t, &found)
	if found.Total != 1 {
		t.Errorf("a search found %d", found.Total)
	}
	f.call(t, "contributor", post, one+"packages/bulk_remove/", fmt.Sprint("[", ids[0], "]"), http.StatusForbidden).problem(t)
	f.call(t, "maintainer", post, one+"packages/bulk_remove/", fmt.Sprint("[", ids[0], ",", ids[1], "]"), http.StatusNoContent)
	last := fmt.Sprintf("%spackages/%d/remove/", path, ids[2])
	f.call(t, "contributor", remove, last, nil, http.StatusForbidden).problem(t)
	f.call(t, "maintainer", remove, last, nil, http.StatusNoContent)
	f.call(t, "maintainer", remove, last, nil, http.StatusNotFound).problem(t)

	f.call(t, "maintainer", post, one+"scan/", nil, http.StatusOK).into(t, &shown)
	if !strings.Contains(shown.Failure, "127.0.0.1") {
		t.Errorf("a scan says %q", shown.Failure)
	}
	f.call(t, "contributor", patch, one, `{"tests_prefix":"q_"}`, http.StatusForbidden).problem(t)
	f.call(t, "maintainer", patch, one, `{"git_ref":"-x"}`, http.StatusBadRequest).problem(t)
	f.call(t, "contributor", remove, one+"remove/", nil, http.StatusForbidden).problem(t)
	f.call(t, "maintainer", remove, one+"remove/", nil, http.StatusNoContent)
	f.call(t, "anon", get, one, nil, http.StatusNotFound).problem(t)
}

// TestTestConfiguration: what a build asks for of tests is checked, kept, and shown in
// ALBS's form.
func TestTestConfiguration(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	srpm := f.upload(t)
	ask := func(configuration string) string {
		return fmt.Sprintf(`{"platforms":[{"name":"el","arch_list":["x86_64"]}],"tasks":[{"srpm":%q,"test_configuration":%s}]}`, srpm, configuration)
	}
	for bad, want := range map[string]string{
		`{"tests":[{"url":"https://git.example/t.git","git_ref":"a;b","test_dir":"x"}]}`:        "git ref",
		`{"tests":[{"url":"https://u:secret@git.example/t.git","test_dir":"x"}]}`:               "credentials",
		`{"tests":[{"url":"https://git.example/t.git","test_dir":"../x"}]}`:                     "test_dir",
		`{"tests":[{"url":"https://git.example/t.git","test_dir":"x","tests_to_run":["a/b"]}]}`: "tests_to_run",
		`{"tests":[{"url":"https://git.example/t.git","test_dir":"x","packages":["a b"]}]}`:     "package",
		`{"tests":[{"uri":"x"}]}`:                   "test_configuration has to be",
		`{"test_env":{"extra_env_vars":["A"]}}`:     "has no =",
		`{"test_env":{"extra_env_vars":["A-B=1"]}}`: "no name of a variable",
		`{"test_env":{"vm_ram_size":1536}}`:         "isn't supported",
	} {
		if p := f.call(t, "contributor", post, "/api/v1/builds/", ask(bad), http.StatusBadRequest).problem(t); !strings.Contains(p.Detail, want) || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s: %s", bad, p.Detail)
		}
	}
	var b struct {
		Tasks []struct {
			Tests any `json:"test_configuration"`
			Mock  any `json:"mock_options"`
		} `json:"tasks"`
	}
	given := `{"tests":[{"url":"https://git.example/t.git","test_dir":"tests/p_x","tests_to_run":["a.bats"]}],"test_env":{"pytest_is_needed":true,"extra_env_vars":["A=b=c"]}}`
	f.call(t, "contributor", post, "/api/v1/builds/", ask(given), http.StatusOK).into(t, &b)
	want := map[string]any{
		"tests":    []any{map[string]any{"url": "https://git.example/t.git", "git_ref": "HEAD", "test_dir": "tests/p_x", "tests_to_run": []any{"a.bats"}}},
		"test_env": map[string]any{"extra_env_vars": []any{"A=b=c"}},
	}
	if diff := cmp.Diff(want, b.Tasks[0].Tests); diff != "" || b.Tasks[0].Mock != nil {
		t.Errorf("%v (-want +got):\n%s", b.Tasks[0].Mock, diff)
	}
}
