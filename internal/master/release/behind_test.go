package release

import (
	"strings"
	"testing"
)

// TestBehind: what a releaser tells of further places is bounded, is one line, and says
// that nobody has to do anything.
func TestBehind(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"":                           "",
		"place eu is away":           "place eu is away (the releaser goes on trying, and its log says when it is done)",
		"place eu:\nno\x1b[31m such": "place eu: no [31m such (the releaser goes on trying, and its log says when it is done)",
	} {
		if got := behind(said); got != want {
			t.Errorf("behind(%q) = %q, want %q", said, got, want)
		}
	}
	if got := behind(strings.Repeat("ä", 5000)); len(got) > maxBehind+100 || !strings.Contains(got, "ä… (") {
		t.Errorf("behind of too much has %d bytes: %s", len(got), got[maxBehind-10:])
	}
}
