package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/repodata/updateinfo"
)

// cache keeps what was made of advisories, a file for each thing that was made. The name of
// a file is the digest of all that it was made of, so nothing is taken for what was made of
// something else; what is lost, or isn't what was written, is made again.
type cache struct {
	dir  string
	made int // see made
}

// shelf is the part of one platform of one product, for one use of it. It may be used
// concurrently.
type shelf struct {
	dir  string
	mu   sync.Mutex
	used map[string]bool // names that were asked for or kept
}

// name returns the name of what is made, in the way that is named, of all these parts.
func (c cache) name(way string, parts ...[]byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d", way, c.made)
	for _, p := range parts {
		fmt.Fprintf(h, " %d\n", len(p))
		h.Write(p)
	}
	return string(albs.DigestFrom(h))
}

func (c cache) shelf(product, platform string) *shelf {
	return &shelf{dir: filepath.Join(c.dir, product, platform), used: map[string]bool{}}
}

// Bounds of the cache.
const (
	maxKept = 256 << 20 // bytes of a file
	spares  = 512       // files that the last use of a shelf had no need of
)

// A file begins with the checksum of its name and the rest. It tells what a crash or a disk
// has made of what was written, and needn't tell more: who may write here may write anything.
const sumBytes = crc32.Size

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(name string, b []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, b))
}

// use notes that names are in use.
func (s *shelf) use(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		s.used[n] = true
	}
}

// get returns what is kept under a name. A file that isn't what was written is none.
func (s *shelf) get(name string) ([]byte, bool) {
	s.use(name)
	b, err := disk.ReadFile(filepath.Join(s.dir, name), maxKept)
	if err != nil || len(b) < sumBytes || !bytes.Equal(checksum(name, b[sumBytes:]), b[:sumBytes]) {
		return nil, false
	}
	return b[sumBytes:], true
}

// set keeps something under a name. A disk that is full keeps nothing.
func (s *shelf) set(name string, b []byte) {
	s.use(name)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return
	}
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, slices.Concat(checksum(name, b), b), 0o600); err != nil {
		_ = os.Remove(path)
	}
}

// tidy removes what wasn't used, but for the spares that were made last: they are of plans
// that are yet to be published, or were and are compared with. What can't be listed stays.
func (s *shelf) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	type spare struct {
		name string
		at   time.Time
	}
	var all []spare
	for _, e := range entries {
		if s.used[e.Name()] {
			continue
		}
		if info, err := e.Info(); err == nil {
			all = append(all, spare{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(x, y spare) int { return y.at.Compare(x.at) })
	for _, x := range all[min(len(all), spares):] {
		_ = os.Remove(filepath.Join(s.dir, x.name))
	}
}

// encode returns all of r, which decode reads.
func (r rendered) encode() []byte {
	var e encoder
	e.text(r.id)
	e.time(r.updated)
	e.number(len(r.files))
	for _, f := range r.files {
		e.text(f.Path)
		e.text(string(f.Digest))
		e.number(int(f.Size))
		e.number(map[bool]int{true: 1}[f.Sign])
	}
	e.number(len(r.pieces))
	for _, p := range r.pieces {
		e.text(p.ID)
		e.time(p.Updated)
		e.bytes(p.Bytes)
	}
	e.number(len(r.notices))
	for _, n := range r.notices {
		e.text(n.repository)
		e.text(n.ID)
		e.bytes(n.Plain)
		e.bytes(n.Packed)
	}
	return e
}

// decode reads what encode wrote, and reports whether it was that. The bytes of pieces are
// those of b.
func decode(b []byte) (rendered, bool) {
	d := decoder{rest: b}
	r := rendered{id: d.text(), updated: d.time()}
	for n := d.count(); n > 0 && !d.bad; n-- {
		f := plan.File{TreeFile: repodata.TreeFile{Path: d.text(), Digest: albs.Digest(d.text()), Size: int64(d.number())}, Sign: d.number() == 1}
		r.files = append(r.files, f)
	}
	for n := d.count(); n > 0 && !d.bad; n-- {
		r.pieces = append(r.pieces, advisory.Piece{ID: d.text(), Updated: d.time(), Bytes: d.bytes()})
	}
	for n := d.count(); n > 0 && !d.bad; n-- {
		r.notices = append(r.notices, notice{d.text(), updateinfo.Piece{ID: d.text(), Plain: d.bytes(), Packed: d.bytes()}})
	}
	return r, !d.bad && len(d.rest) == 0
}

// encoder appends numbers, and bytes behind their number.
type encoder []byte

func (e *encoder) number(n int)     { *e = binary.AppendUvarint(*e, uint64(n)) }
func (e *encoder) bytes(b []byte)   { e.number(len(b)); *e = append(*e, b...) }
func (e *encoder) text(s string)    { e.number(len(s)); *e = append(*e, s...) }
func (e *encoder) time(t time.Time) { e.text(t.UTC().Format(time.RFC3339Nano)) }

// decoder reads what encoder wrote. Once something isn't there, all that follows is empty.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number() int {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > math.MaxInt {
		d.rest, d.bad = nil, true
		return 0
	}
	d.rest = d.rest[size:]
	return int(n)
}

// count is the number of things that follow, each of which has a byte at least.
func (d *decoder) count() int {
	n := d.number()
	if n > len(d.rest) {
		d.rest, d.bad = nil, true
		return 0
	}
	return n
}

func (d *decoder) bytes() []byte {
	n := d.count()
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes()) }

func (d *decoder) time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, d.text())
	d.bad = d.bad || err != nil
	return t
}
