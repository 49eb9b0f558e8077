package api

import (
	"fmt"
	"net/http"
	"testing"
)

// TestSkips: operators say what is skipped, and everybody may read it.
func TestSkips(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	const path = "/api/v1/tests/skips/"
	body := `{"platform":"el","package":"glibc","stage":"downgrade","reason":"it can't go back"}`
	f.call(t, "maintainer", post, path, body, http.StatusForbidden).problem(t)
	f.call(t, "operator", post, path, `{"platform":"el","package":"glib*","stage":"downgrade","reason":"x"}`, http.StatusBadRequest).problem(t)
	f.call(t, "operator", post, path, `{"platform":"nosuch","package":"glibc","stage":"downgrade","reason":"x"}`, http.StatusNotFound).problem(t)
	var made skipView
	f.call(t, "operator", post, path, body, http.StatusCreated).into(t, &made)
	f.call(t, "operator", post, path, body, http.StatusConflict).problem(t)
	var list []skipView
	f.call(t, "anon", get, path+"?platform=el", nil, http.StatusOK).into(t, &list)
	if len(list) != 1 || list[0] != made || made.Stage != "downgrade" || made.Actor == "" || made.At.IsZero() {
		t.Errorf("the list is %+v, made was %+v", list, made)
	}
	f.call(t, "anon", get, path+"?platform=other", nil, http.StatusOK).into(t, &list)
	if len(list) != 0 {
		t.Errorf("of another platform: %+v", list)
	}
	one := fmt.Sprintf("%s%d/", path, made.ID)
	f.call(t, "anon", remove, one, nil, http.StatusUnauthorized).problem(t)
	f.call(t, "operator", remove, one, nil, http.StatusNoContent)
	f.call(t, "operator", remove, one, nil, http.StatusNotFound).problem(t)
}
