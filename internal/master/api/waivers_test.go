package api

import (
	"net/http"
	"testing"
)

// TestWaivers: what is asked for wrongly is told, and everybody may read what is waived.
func TestWaivers(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	const path = "/api/v1/tests/waivers/"
	body := `{"build_id":99,"package":"hello-1-1.x86_64","reason":"it is known","days":3}`
	f.call(t, "anon", post, path, body, http.StatusUnauthorized).problem(t)
	f.call(t, "admin", post, path, body, http.StatusNotFound).problem(t)
	f.call(t, "admin", remove, path+"9/?reason=no+more", nil, http.StatusNotFound).problem(t)
	f.call(t, "admin", remove, path+"9/", nil, http.StatusUnprocessableEntity).problem(t)
	f.call(t, "anon", get, path+"?state=asleep", nil, http.StatusUnprocessableEntity).problem(t)
	var list []waiverView
	f.call(t, "anon", get, path+"?build=7&state=in+force&package=hello", nil, http.StatusOK).into(t, &list)
	if len(list) != 0 {
		t.Errorf("the list is %+v", list)
	}
}
