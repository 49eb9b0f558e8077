package integrity

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"
	"unicode/utf8"
)

// The cache of ld.so as ldconfig writes it (glibc, sysdeps/generic/dl-cache.h): a head of
// 48 bytes, an entry of 24 bytes for each library, and their strings. ld.so itself takes a
// cache that it can't read for none at all, and so does this.

const (
	maxCache        = 16 << 20
	maxCacheEntries = 1 << 16
	cacheHead       = 48
	cacheEntry      = 24
)

var cacheMagic = []byte("glibc-ld.so.cache1.1")

// readCache returns the paths of each library by its name, in the cache's order: where it
// has several, ld.so takes the first that suits its processor. Nil if b is no cache.
func readCache(b []byte) map[string][]string {
	// An older form may stand before it, for older loaders.
	at := bytes.Index(b, cacheMagic)
	if at < 0 || len(b)-at < cacheHead {
		return nil
	}
	b = b[at:]
	var order binary.ByteOrder = binary.LittleEndian
	if b[28]&3 == 3 {
		order = binary.BigEndian
	}
	n := order.Uint32(b[20:])
	if b[28]&3 == 0 && n > 1<<24 { // written before the head told its byte order
		order = binary.BigEndian
		n = order.Uint32(b[20:])
	}
	if n > maxCacheEntries || int(n) > (len(b)-cacheHead)/cacheEntry {
		return nil
	}
	word := func(off uint32) (string, bool) {
		if uint64(off) >= uint64(len(b)) {
			return "", false
		}
		s := b[off:min(len(b), int(off)+4096)]
		end := bytes.IndexByte(s, 0)
		if end < 0 || !utf8.Valid(s[:end]) {
			return "", false
		}
		return string(s[:end]), true
	}
	cache := make(map[string][]string, n)
	for i := range int(n) {
		e := b[cacheHead+i*cacheEntry:]
		name, ok1 := word(order.Uint32(e[4:]))
		p, ok2 := word(order.Uint32(e[8:]))
		if !ok1 || !ok2 {
			return nil
		}
		if path.IsAbs(p) && !slices.Contains(cache[name], p) && len(cache[name]) < 64 {
			cache[name] = append(cache[name], p)
		}
	}
	return cache
}
