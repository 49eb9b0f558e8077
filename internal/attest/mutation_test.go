package attest_test

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
	"albs/internal/tlog"
)

// lineProof and lineState are the lines of a ledger proof.
type (
	lineProof struct {
		Albs  string       `json:"albs"`
		Key   string       `json:"key"`
		Proof ledger.Proof `json:"proof"`
	}
	lineState struct {
		Albs string `json:"albs"`
		attest.SignedState
	}
)

// broken says which link breaks when a field is changed, whatever it is changed to: each
// field of each document that a verifier is given, and each part of the package. A field
// that isn't here fails the tests below: whoever adds one says what it is to a verifier.
// No links at all are for a field whose change asks for less.
var broken = map[string][]attest.Link{
	"statement payload":          {attest.LinkStatement},
	"statement payloadType":      {attest.LinkStatement},
	"statement signatures":       {attest.LinkStatement},
	"statement signatures keyid": {attest.LinkStatement},
	"statement signatures sig":   {attest.LinkStatement},

	"proof albs":  {attest.LinkInclusion},
	"proof key":   {attest.LinkInclusion},
	"proof proof": {attest.LinkInclusion}, // and all that is in it, which is the ledger's

	"state albs":         {attest.LinkState},
	"state state ledger": {attest.LinkState},
	"state state tx":     {attest.LinkState},
	"state state alh":    {attest.LinkState},
	"state at":           {attest.LinkState},
	"state keyid":        {attest.LinkState},
	"state sig":          {attest.LinkState},

	"trust albs":          {attest.LinkInput},
	"trust ledger":        {attest.LinkInput, attest.LinkState},
	"trust master_keys":   {attest.LinkInput, attest.LinkState},
	"trust signer_keys":   {attest.LinkInput, attest.LinkStatement},
	"trust releaser_keys": {attest.LinkInput, attest.LinkStatement},
	"trust package_keys":  {attest.LinkInput, attest.LinkSignature},
	"trust builders":      {attest.LinkInput, attest.LinkPolicy},
	"trust products":      {attest.LinkInput, attest.LinkPolicy},
	"trust log logs":      {attest.LinkInput, attest.LinkLog},
	"trust log witnesses": {attest.LinkInput, attest.LinkLog},
	"trust log quorum":    {attest.LinkInput},

	"trust require_test":    nil,
	"trust require_release": nil,
	"trust require_commit":  nil,
	"trust require_log":     nil,

	"trust refuse_ended_waivers": nil,

	"leaf NEVRA":        {attest.LinkLog},
	"leaf File":         {attest.LinkLog},
	"leaf Header":       {attest.LinkLog},
	"leaf Payload":      {attest.LinkLog},
	"leaf Repositories": {attest.LinkLog},
	"leaf Bundle":       {attest.LinkLog},

	"log format":               {attest.LinkLog},
	"log index":                {attest.LinkLog},
	"log hash":                 {attest.LinkLog},
	"log origin":               {attest.LinkLog},
	"log size":                 {attest.LinkLog},
	"log root":                 {attest.LinkLog},
	"log line between":         {attest.LinkLog},
	"log signature of log":     {attest.LinkLog},
	"log signature of witness": {attest.LinkLog},

	// The body of a waiver that a release names, newly signed by the master.
	"waiver build":        {attest.LinkChain},
	"waiver waiver":       {attest.LinkChain},
	"waiver stage":        {attest.LinkChain},
	"waiver untested":     {attest.LinkChain},
	"waiver person":       {attest.LinkChain},
	"waiver reason":       {attest.LinkChain},
	"waiver expires":      {attest.LinkChain},
	"waiver ended_by":     nil, // whoever took it back, which is told
	"waiver ended":        nil, // and when
	"waiver ended_reason": nil, // and why

	// The file of a verification summary, and its predicate, newly signed by the releaser.
	"vsa payload":                      {attest.LinkStatement},
	"vsa payloadType":                  {attest.LinkStatement},
	"vsa signatures":                   {attest.LinkStatement},
	"vsa signatures keyid":             {attest.LinkStatement},
	"vsa signatures sig":               {attest.LinkStatement},
	"summary verifier id":              {attest.LinkChain},
	"summary timeVerified":             nil, // whenever it was
	"summary resourceUri":              {attest.LinkChain},
	"summary policy name":              {attest.LinkChain},
	"summary policy uri":               {attest.LinkChain},
	"summary policy digest":            nil, // whichever trust file it was, which is told
	"summary inputAttestations":        {attest.LinkChain},
	"summary verificationResult":       {attest.LinkChain},
	"summary verifiedLevels":           {attest.LinkChain},
	"summary slsaVersion":              {attest.LinkChain},
	"summary inputAttestations uri":    {attest.LinkChain},
	"summary inputAttestations name":   {attest.LinkChain},
	"summary inputAttestations digest": {attest.LinkChain},

	"package lead":              {attest.LinkSignature, attest.LinkDigest},
	"package signature intro":   {attest.LinkSignature, attest.LinkDigest},
	"package signature index":   {attest.LinkSignature, attest.LinkDigest},
	"package signature padding": {attest.LinkSignature, attest.LinkDigest},
	"package header intro":      {attest.LinkSignature},
	"package header index":      {attest.LinkSignature},
	"package header data":       {attest.LinkSignature},
	"package payload":           {attest.LinkDigest},
	// The data of the signature header, by tag. Only what is over the header is looked
	// at; the rest is what the file's digest is for.
	"package signature tag 62":   {attest.LinkSignature, attest.LinkDigest}, // the region's trailer
	"package signature tag 267":  {attest.LinkSignature, attest.LinkDigest}, // DSA or Ed25519 over the header
	"package signature tag 268":  {attest.LinkSignature, attest.LinkDigest}, // RSA
	"package signature tag 269":  {attest.LinkSignature, attest.LinkDigest}, // sha1 of the header
	"package signature tag 273":  {attest.LinkSignature},                    // sha256 of the header
	"package signature tag 1000": {attest.LinkSignature, attest.LinkDigest}, // size
	"package signature tag 1004": {attest.LinkSignature, attest.LinkDigest}, // md5
	"package signature tag 1007": {attest.LinkSignature, attest.LinkDigest}, // size of the payload unpacked
	"package signature tag 1008": {attest.LinkDigest},                       // space for signatures
}

// mutants counts, by field, those that were refused.
type mutants map[string]int

// refused wants err to be a broken link that the field's row has.
func (m mutants) refused(t *testing.T, field, what string, err error) {
	t.Helper()
	links, ok := broken[field]
	if !ok {
		t.Errorf("nothing is said of the field %q (%s): %v", field, what, err)
		return
	}
	m[field]++
	if links != nil {
		wantLink(t, field+" "+what, err, links...)
	}
}

// all wants mutants of each field that the rows beginning with kind have, and of no others.
func (m mutants) all(t *testing.T, kind string) {
	t.Helper()
	n := 0
	for _, field := range slices.Sorted(maps.Keys(broken)) {
		if !strings.HasPrefix(field, kind+" ") {
			continue
		}
		// Which tags there are, and whether they fill up eight bytes, is rpmbuild's.
		if m[field] == 0 && !strings.Contains(field, " tag ") && !strings.HasSuffix(field, " padding") {
			t.Errorf("no mutant of the field %q was tried", field)
		}
		n += m[field]
	}
	t.Logf("%s: %d mutants", kind, n)
}

// fields lists the fields of v's type in JSON, below path; what encodes itself, bytes and
// what is a leaf by of are one each.
func fields(v reflect.Type, path string, leaf func(string) bool) []string {
	switch {
	case leaf(path), v.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return []string{path}
	case v.Kind() == reflect.Pointer:
		return fields(v.Elem(), path, leaf)
	case v.Kind() == reflect.Slice && v.Elem().Kind() == reflect.Struct:
		return append(fields(v.Elem(), path, leaf), path)
	case v.Kind() != reflect.Struct:
		return []string{path}
	}
	var out []string
	for i := range v.NumField() {
		f := v.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous:
			out = append(out, fields(f.Type, path, leaf)...)
		default:
			out = append(out, fields(f.Type, path+" "+name, leaf)...)
		}
	}
	return out
}

var inPath = regexp.MustCompile(`^\[([^\]]*)\] `)

// each calls f with every mutant of a JSON document of type T, in the form in which albs
// writes it, and the field that is another.
func each[T any](t *testing.T, kind string, doc []byte, leaf func(string) bool, f func(field, what string, mutant []byte)) {
	t.Helper()
	decode := func() any {
		var tree any
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		if err := d.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	ledgertest.EachMutant(decode, func(what string, tree any) {
		m := inPath.FindStringSubmatch(what)
		if m == nil {
			t.Fatalf("a mutant %q without a path", what)
		}
		field := kind
		for _, part := range strings.Fields(m[1]) {
			if strings.Trim(part, "0123456789") != "" && !leaf(field) { // a number counts in a list
				field += " " + part
			}
		}
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var v T
		if json.Unmarshal(b, &v) == nil { // else its form is what is wrong
			if b, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		f(field, what, b)
	})
	// Every field that the type has must have its row, in a document or not.
	for _, field := range fields(reflect.TypeFor[T](), kind, leaf) {
		if _, ok := broken[field]; !ok {
			t.Errorf("nothing is said of the field %q", field)
		}
	}
}

// TestEveryFieldOfTheDocumentsCounts changes each field of statements, proof, state and
// trust file.
func TestEveryFieldOfTheDocumentsCounts(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r := release(t, f)
	if _, err := check(t, r, f.Trust); err != nil {
		t.Fatal(err)
	}
	m := mutants{}
	split := func(b []byte) [][]byte { return bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) }
	said, proof := split(r.Bundle.Envelopes()), split(r.Bundle.Proof())
	with := func(list [][]byte, i int, line []byte) []byte {
		list = slices.Clone(list)
		list[i] = line
		return joined(list)
	}
	try := func(field, what string, envelopes, proof []byte) {
		b, err := attest.ParseBundle(envelopes, proof)
		if err == nil {
			b.Log = r.Bundle.Log
			_, err = check(t, attesttest.Released{Signed: r.Signed, Bundle: b}, f.Trust)
		}
		m.refused(t, field, what, err)
	}
	none := func(string) bool { return false }
	for i, line := range said {
		each[attest.Envelope](t, "statement", line, none, func(field, what string, mutant []byte) {
			try(field, what, with(said, i, mutant), r.Bundle.Proof())
		})
	}
	for i, line := range proof[:len(proof)-1] {
		each[lineProof](t, "proof", line, func(path string) bool { return path == "proof proof" }, func(field, what string, mutant []byte) {
			try(field, what, r.Bundle.Envelopes(), with(proof, i, mutant))
		})
	}
	each[lineState](t, "state", proof[len(proof)-1], none, func(field, what string, mutant []byte) {
		try(field, what, r.Bundle.Envelopes(), with(proof, len(proof)-1, mutant))
	})
	strict := f.Trust
	strict.RefuseEndedWaivers = true
	each[attest.Trust](t, "trust", strict.Encode(), none, func(field, what string, mutant []byte) {
		if strings.HasSuffix(what, "] longer") && field != "trust log logs" && field != "trust log witnesses" || what == "[log quorum] minus one" || what == "[log witnesses] swapped" {
			return // trusts the same twice, or asks for less
		}
		trust, err := attest.ParseTrust(mutant)
		if err == nil {
			_, err = check(t, r, trust)
		}
		m.refused(t, field, what, err)
	})
	for _, kind := range []string{"statement", "proof", "state", "trust"} {
		m.all(t, kind)
	}
}

// TestEveryByteOfTheLogsProofCounts flips a bit of each byte of the proof, of some bytes
// of each line in short tests, and logs what differs in one field from what the verifier
// finds.
func TestEveryByteOfTheLogsProofCounts(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r := release(t, f)
	m := mutants{}
	// A line of each kind: the parts of c2sp.org/tlog-proof@v1 and its checkpoint.
	kind := func(n int, line string) string {
		switch {
		case strings.HasPrefix(line, "c2sp.org/"):
			return "format"
		case strings.HasPrefix(line, "index "):
			return "index"
		case line == "":
			return "line between"
		case strings.HasPrefix(line, "— log."):
			return "signature of log"
		case strings.HasPrefix(line, "— witness"):
			return "signature of witness"
		}
		return [...]string{2: "hash", 4: "origin", 5: "size", 6: "root"}[n]
	}
	at, step := 0, 1
	if testing.Short() {
		step = 5
	}
	for n, line := range strings.SplitAfter(strings.TrimSuffix(string(r.Bundle.Log), "\n"), "\n") {
		field := "log " + kind(n, strings.TrimSuffix(line, "\n"))
		for i := 0; i < len(line); i += step {
			b := bytes.Clone(r.Bundle.Log)
			b[at+i] ^= 1 << (i % 7)
			_, err := check(t, attesttest.Released{Signed: r.Signed, Bundle: edit(r.Bundle, func(to *attest.Bundle) { to.Log = b })}, f.Trust)
			m.refused(t, field, fmt.Sprintf("byte %d of %q", i, line), err)
		}
		at += len(line)
	}
	m.all(t, "log")

	leaf, err := r.Bundle.Leaf(r.Package, albs.DigestOf(r.Signed))
	if err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[tlog.Leaf]().NumField() {
		other := leaf
		field := reflect.ValueOf(&other).Elem().Field(i)
		switch field.Kind() {
		case reflect.String:
			s := []byte(field.String())
			s[len(s)-1] ^= 1
			field.SetString(string(s))
		case reflect.Slice:
			field.Set(reflect.AppendSlice(field, reflect.ValueOf([]string{"hello-9/x"})))
		default:
			t.Errorf("a field of the kind %s in a leaf", field.Kind())
		}
		proof, err := f.Log.Prove(f.Log.Append(other.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		_, err = check(t, attesttest.Released{Signed: r.Signed, Bundle: edit(r.Bundle, func(b *attest.Bundle) { b.Log = proof })}, f.Trust)
		m.refused(t, "leaf "+reflect.TypeFor[tlog.Leaf]().Field(i).Name, "another", err)
	}
	m.all(t, "leaf")
	proof, err := f.Log.Prove(f.Log.Append(leaf.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := check(t, attesttest.Released{Signed: r.Signed, Bundle: edit(r.Bundle, func(b *attest.Bundle) { b.Log = proof })}, f.Trust); err != nil {
		t.Errorf("the leaf itself, logged again: %v", err)
	}
}

// TestEveryPartOfThePackageCounts flips bits of each part of the file: all bytes of it
// in long tests, some of each part else.
func TestEveryPartOfThePackageCounts(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r := release(t, f)
	m := mutants{}
	parts := partsOf(t, r.Signed)
	for _, p := range parts {
		step := 1
		if testing.Short() {
			step = max(1, (p.end-p.start)/8)
		}
		for at := p.start; at < p.end; at += step {
			b := bytes.Clone(r.Signed)
			b[at] ^= 1 << (at % 8)
			_, err := check(t, attesttest.Released{Signed: b, Bundle: r.Bundle}, f.Trust)
			m.refused(t, "package "+p.name, fmt.Sprint("byte ", at), err)
		}
	}
	m.all(t, "package")
}

// part is a range of bytes of an RPM with what it is.
type part struct {
	name       string
	start, end int
}

// partsOf takes an RPM apart, by the description of its format and not by what is tested.
func partsOf(t *testing.T, b []byte) []part {
	t.Helper()
	const lead, intro, entry = 96, 16, 16
	parts := []part{{"lead", 0, lead}}
	header := func(name string, at int) (end int) {
		n, size := int(binary.BigEndian.Uint32(b[at+8:])), int(binary.BigEndian.Uint32(b[at+12:]))
		index, store := at+intro, at+intro+n*entry
		parts = append(parts, part{name + " intro", at, index}, part{name + " index", index, store})
		if name == "header" {
			parts = append(parts, part{name + " data", store, store + size})
			return store + size
		}
		type data struct {
			tag, kind uint32
			at        int
		}
		var all []data
		for i := range n {
			e := b[index+i*entry:]
			all = append(all, data{binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), store + int(binary.BigEndian.Uint32(e[8:]))})
		}
		slices.SortFunc(all, func(a, b data) int { return a.at - b.at })
		for i, d := range all {
			end := store + size
			if i+1 < len(all) {
				end = all[i+1].at
			}
			// Behind a string there may be bytes that bring the next tag's to their place.
			stop := end
			if n := bytes.IndexByte(b[d.at:end], 0); d.kind == 6 && n >= 0 {
				stop = d.at + n + 1
			}
			parts = append(parts, part{fmt.Sprintf("%s tag %d", name, d.tag), d.at, stop})
			if stop < end {
				parts = append(parts, part{name + " padding", stop, end})
			}
		}
		return store + size
	}
	end := header("signature", lead)
	start := (end + 7) &^ 7
	if start > end {
		parts = append(parts, part{"signature padding", end, start})
	}
	parts = append(parts, part{"payload", header("header", start), len(b)})
	covered := 0
	for _, p := range parts {
		covered += p.end - p.start
	}
	if covered != len(b) {
		t.Fatalf("the parts have %d bytes, the package %d", covered, len(b))
	}
	return parts
}
