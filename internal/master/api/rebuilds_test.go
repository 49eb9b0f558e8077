package api

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"albs/internal/albs"
	"albs/internal/worker"
)

const rpmFile = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"

// rootRecord is a buildroot record of one package.
const rootRecord = `{"format":"albs-buildroot/v1","target":"x86_64","packages":[{"name":"bash","version":"5","release":"1","arch":"x86_64","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`

// finishes ends a build or rebuild with the one package there is.
func finishes(t *testing.T, node *worker.Client, l *worker.Lease) albs.Digest {
	t.Helper()
	send := func(name string, b []byte) albs.File {
		f := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
		if _, err := node.Put(t.Context(), l.Token, f.Digest, 0, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	b, err := os.ReadFile(rpmFile)
	if err != nil {
		t.Fatal(err)
	}
	file := send(filepath.Base(rpmFile), b)
	r := albs.Result{Build: &albs.BuildResult{Packages: []albs.File{file}, Record: send("buildroot.json", []byte(rootRecord))}}
	if err := node.Complete(t.Context(), l.Token, albs.OutcomeOK, r); err != nil {
		t.Fatal(err)
	}
	return file.Digest
}

func TestRebuilds(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	b, node, lease := f.leased(t)
	made := finishes(t, node, lease)
	body := map[string]any{"of": made}
	f.call(t, "anon", post, "/api/v1/rebuilds/", body, http.StatusUnauthorized)
	f.call(t, "signer", post, "/api/v1/rebuilds/", body, http.StatusForbidden)
	f.call(t, "contributor", post, "/api/v1/rebuilds/", map[string]any{"of": albs.DigestOf(nil)}, http.StatusNotFound)
	f.call(t, "contributor", post, "/api/v1/rebuilds/", map[string]any{"of": made, "node": "a", "not_node": "b"}, http.StatusBadRequest)
	f.call(t, "contributor", post, "/api/v1/rebuilds/", map[string]any{"of": made, "else": 1}, http.StatusUnprocessableEntity)

	var v rebuildView
	f.call(t, "contributor", post, "/api/v1/rebuilds/", body, http.StatusOK).into(t, &v)
	if v.BuildID != b.ID || v.Of != lease.Token.Task || v.State != albs.TaskQueued || v.BuiltOn != "node-1" || v.EndedAt != nil || v.Verdict != "" || len(v.Packages) != 1 || v.Packages[0].SHA256 != made {
		t.Errorf("the rebuild is %+v", v)
	}
	f.call(t, "contributor", post, "/api/v1/rebuilds/", body, http.StatusConflict)
	path := fmt.Sprintf("/api/v1/rebuilds/%d/", v.ID)
	f.call(t, "anon", get, path, nil, http.StatusOK).into(t, &v)
	if v.Why == nil || v.Why.Sentence == "" {
		t.Errorf("nothing says why it waits: %+v", v.Why)
	}
	f.call(t, "contributor", patch, path+"cancel", nil, http.StatusOK).into(t, &v)
	if v.State != albs.TaskCancelled || v.Reason != "cancelled by contributor" || v.EndedAt == nil {
		t.Errorf("cancelled it is %+v", v)
	}
	f.call(t, "contributor", patch, path+"cancel", nil, http.StatusConflict)

	var again rebuildView
	f.call(t, "contributor", post, "/api/v1/rebuilds/", map[string]any{"of": "albs-rich-2:1.0~rc1-3.el9.noarch", "node": "node-1"}, http.StatusBadRequest) // of which no rebuild was heard
	f.call(t, "contributor", post, "/api/v1/rebuilds/", map[string]any{"of": "albs-rich-2:1.0~rc1-3.el9.noarch"}, http.StatusOK).into(t, &again)
	l, err := node.Claim(t.Context(), worker.Offer{Version: "1", Labels: []string{"kind:rebuild", "arch:x86_64"}, Wait: 25})
	if err != nil || l == nil {
		t.Fatalf("Claim = %v, %v", l, err)
	}
	finishes(t, node, l)
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/rebuilds/%d/", again.ID), nil, http.StatusOK).into(t, &again)
	if again.Verdict != "bit-identical" || again.State != albs.TaskSucceeded || !again.SameNode || again.Node != "node-1" || again.Why != nil || len(again.Files) != 1 || again.Packages[0].Differing == nil {
		t.Errorf("it came to %+v", again)
	}
	var page rebuildsView
	for query, want := range map[string]int{"": 2, "?limit=1": 1, "?build=99": 0, fmt.Sprintf("?build=%d&sha256=%s", b.ID, made): 2, fmt.Sprintf("?before=%d", again.ID): 1} {
		page = rebuildsView{}
		f.call(t, "anon", get, "/api/v1/rebuilds/"+query, nil, http.StatusOK).into(t, &page)
		if len(page.Rebuilds) != want || (page.Next != 0) != (query == "?limit=1") {
			t.Errorf("%q lists %d, next %d; want %d", query, len(page.Rebuilds), page.Next, want)
		}
		for _, r := range page.Rebuilds {
			if r.Packages != nil || r.Files != nil {
				t.Errorf("%q lists %+v with what came of each package", query, r)
			}
		}
	}
	f.call(t, "anon", get, "/api/v1/rebuilds/?sha256=x", nil, http.StatusBadRequest)
	f.call(t, "anon", get, "/api/v1/rebuilds/99/", nil, http.StatusNotFound)
}
