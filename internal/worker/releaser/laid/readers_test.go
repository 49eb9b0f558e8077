package laid

import (
	"testing"

	"albs/internal/albs"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"": true, "http://127.0.0.1:8080": true, "https://repo.example.org/a/b/": true, "file:///srv/public": true,
		"repo.example.org": false, "/srv/public": false, "ftp://repo.example.org": false, "https:repo": false, "https:///albs": false,
		"file://host/srv": false, "file:srv": false, "https://me@repo.example.org": false, "https://repo.example.org/?a=b": false,
		"https://repo.example.org/?": false, "https://repo.example.org/#a": false, "https://repo.example.org/$releasever": false,
		"https://repo.example.org/a b": false, "https://repo.example.org/a,b": false, "https://repo.example.org/\n[x]": false,
	} {
		if err := CheckURL("url", url); (err == nil) != good || err != nil && albs.KindOf(err) != albs.Invalid {
			t.Errorf("checkURL(%q) = %v, want it to pass: %v", url, err, good)
		}
	}
}
