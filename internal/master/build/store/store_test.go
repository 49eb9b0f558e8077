package store

import (
	"strings"
	"testing"

	"albs/internal/master/db/dbtest"
)

// TestListsUseIndexes: no page of builds, whatever it is filtered by, reads a whole
// table or sorts one.
func TestListsUseIndexes(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	for name, c := range map[string]struct {
		f    Filter
		want string // in the plan
	}{
		"all":      {Filter{}, "SCAN build"}, // by id, and no further than the page
		"next":     {Filter{Before: 9}, "PRIMARY KEY (rowid<?)"},
		"owner":    {Filter{Owner: "alice", Before: 9}, "INDEX build_owner (owner=? AND id<?)"},
		"product":  {Filter{Product: "demo"}, "INDEX build_product (product=?)"},
		"package":  {Filter{Package: "zlib"}, "INDEX build_item_package (package=?)"},
		"platform": {Filter{Platform: "el9"}, "INDEX build_item_platform (platform=?)"},
	} {
		where, args := c.f.where()
		var plan []struct {
			ID, Parent, Notused int
			Detail              string
		}
		if err := d.SelectContext(t.Context(), &plan, `EXPLAIN QUERY PLAN SELECT `+buildColumns+` FROM build WHERE `+where+` ORDER BY id DESC LIMIT 20`, args...); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range plan {
			lines = append(lines, p.Detail)
		}
		text := strings.Join(lines, "\n")
		if !strings.Contains(text, c.want) || strings.Contains(text, "TEMP B-TREE") || c.want != "SCAN build" && strings.Contains(text, "SCAN") {
			t.Errorf("%s: the plan is\n%s\nwant %q", name, text, c.want)
		}
	}
}
