package db_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/master/db"
)

func TestWhere(t *testing.T) {
	t.Parallel()
	var w db.Where
	if sql, args := w.SQL(); sql != "1 = 1" || len(args) != 0 {
		t.Errorf("without a condition: %q, %v", sql, args)
	}
	w.If(true, "id < $%d", 7)
	w.If(false, "owner = $%d", "")
	w.If(true, "id IN (SELECT build_id FROM build_item WHERE package = $%d)", "bash")
	sql, args := w.SQL()
	if want := "id < $1 AND id IN (SELECT build_id FROM build_item WHERE package = $2)"; sql != want {
		t.Errorf("SQL = %q, want %q", sql, want)
	}
	if d := cmp.Diff([]any{7, "bash"}, args); d != "" {
		t.Error(d)
	}
}
