package lent

import "testing"

func TestSubRange(t *testing.T) {
	t.Parallel()
	file := "root:1:2\nalbs:100000:65536\n# comment\nalbs:300000:70000\n1001:900000:10\nalbs:x:y\n"
	for _, tt := range []struct {
		name, uid    string
		start, count int
	}{{"albs", "5", 300000, 70000}, {"other", "1001", 900000, 10}, {"nobody", "9", 0, 0}} {
		if s, c := subRange(file, tt.name, tt.uid); s != tt.start || c != tt.count {
			t.Errorf("subRange(%s) = %d, %d", tt.name, s, c)
		}
	}
}
