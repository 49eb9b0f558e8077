package buildroot

import "testing"

func TestParseCacheCounts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]CCache{
		"": {}, "direct_cache_hit\t3\ncache_miss\t4\npreprocessed_cache_hit\t5\nfiles_in_cache\t6\n": {Hits: 8, Misses: 4},
		"cache_miss\t-1\ndirect_cache_hit\tmany\ncache_miss 4\n\n": {},
	} {
		if got := parseCacheCounts(text); got != want {
			t.Errorf("%q counts %+v, want %+v", text, got, want)
		}
	}
}
