package ui

import (
	"net/http"
	"net/url"
	"testing"

	"albs/internal/master/db"
)

// TestTestRepositories: a team's maintainers map packages in bulk, and everybody may read
// what tests what; what can't be scanned says why and isn't registered.
func TestTestRepositories(t *testing.T) {
	t.Parallel()
	f := setup(t)
	maintainer, anon := f.browse("maintainer"), f.browse("")
	contains(t, "of nobody", anon.page("/tests/repositories"), "No package has tests of its own yet", "Product maintainers register", "!/tests/repositories/add", `aria-current="page">Tests</a>`)
	contains(t, "of a maintainer", maintainer.page("/tests/repositories"), `action="/tests/repositories/add"`, "team core", "!the installation’s")
	form := url.Values{"name": {"t"}, "url": {"https://127.0.0.1:9/t.git"}, "ref": {"main"}, "dir": {"tests/"}, "prefix": {"p_"}, "team": {"core"}}
	if a := f.browse("outsider").post("/tests/repositories/add", form); a.StatusCode != http.StatusForbidden {
		t.Errorf("added by an outsider: %s", a.Status)
	}
	if a := maintainer.post("/tests/repositories/add", form); a.StatusCode != http.StatusForbidden { // egress doesn't let it through
		t.Errorf("added from an address inside: %s", a.Status)
	}
	form.Set("ref", "$(id)")
	if a := maintainer.post("/tests/repositories/add", form); a.StatusCode != http.StatusBadRequest {
		t.Errorf("added with a shell's ref: %s", a.Status)
	}

	if _, err := f.d.ExecContext(t.Context(), `INSERT INTO test_repository (id, name, url, ref, tests_dir, tests_prefix, team, actor, created_at, commit_id, scanned_at, failure)
		VALUES (1, 'tests', 'https://127.0.0.1:9/t.git', 'main', 'tests/', 'p_', 'core', 'user:ada', $1, 'c0ffee', $1, '')`, db.Now()); err != nil {
		t.Fatal(err)
	}
	contains(t, "the list", anon.page("/tests/repositories?name=TEST"), `href="/tests/repository/1"`, "127.0.0.1")
	contains(t, "none so called", anon.page("/tests/repositories?name=x"), "None is called so")
	const one = "/tests/repository/1"
	lines := url.Values{"mappings": {"bash p_bash\n/python3.*/ p_python\n"}}
	for _, path := range []string{"/map", "/unmap", "/edit", "/scan", "/remove"} {
		if a := f.browse("outsider").post(one+path, url.Values{"mappings": lines["mappings"], "mapping": {"1"}, "name": {"x"}, "url": form["url"], "ref": {"main"}}); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s by an outsider: %s", path, a.Status)
		}
	}
	contains(t, "mapped", maintainer.post(one+"/map", lines).shown(t, one), "<bdi>bash</bdi>", "p_bash", "/python3.*/", `name="mapping" value="1"`, "<td>hand</td>")
	contains(t, "for nobody", anon.page(one), "<bdi>bash</bdi>", "!name=\"mapping\"", "!/scan", "sign in first")
	contains(t, "searched", anon.page(one+"?search=PYTHON"), "p_python", "!p_bash")
	contains(t, "searched in vain", anon.page(one+"?search=zsh"), "Nothing has that")
	if a := maintainer.post(one+"/map", url.Values{"mappings": {"bash"}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("half a line: %s", a.Status)
	}
	contains(t, "scanned", maintainer.post(one+"/scan", nil).shown(t, one), `class="reason"`, "127.0.0.1:9")
	if a := maintainer.post(one+"/unmap", nil); a.StatusCode != http.StatusBadRequest {
		t.Errorf("nothing chosen: %s", a.Status)
	}
	contains(t, "unmapped", maintainer.post(one+"/unmap", url.Values{"mapping": {"1", "2"}}).shown(t, one), "It tests no package")
	contains(t, "removed", maintainer.post(one+"/remove", nil).shown(t, "/tests/repositories"), "No package has tests of its own yet")
}
