package tmt

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
)

// Bounds of metadata.
const (
	maxFiles  = 2000
	maxFile   = 256 << 10 // bytes
	maxBytes  = 4 << 20   // of all files
	maxNodes  = 5000
	maxDepth  = 32
	maxMerged = 4 << 20 // keys, items and bytes that inheritance makes
	maxName   = 200     // bytes
)

// main is the file that describes its folder; others describe what is called as they are.
const main = "main" + Suffix

// scalar is one value of YAML, as it was written.
type scalar struct{ text, tag string }

// node is one object of the hierarchy. Its data are the keys' values: a scalar, a []any
// or a map[string]any; a key without a value isn't kept.
type node struct {
	name     string // /one/two; that of the root is ""
	dir      string // of the file that describes it
	data     map[string]any
	children map[string]*node
}

// leaves returns the nodes that have no children, by name.
func (n *node) leaves() []*node {
	if len(n.children) == 0 {
		return []*node{n}
	}
	var all []*node
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		all = append(all, n.children[name].leaves()...)
	}
	return all
}

// nameOf returns how a folder, or a file without its suffix, is called in the hierarchy.
func nameOf(root, name string) string {
	if root == "." && name != "." {
		return "/" + name
	}
	return strings.TrimPrefix(name, root)
}

// below reports whether a node of that name is top, or lies below it.
func below(top, name string) bool {
	return name == top || strings.HasPrefix(name, top+"/")
}

// hierarchy is one that is being read.
type hierarchy struct {
	root  *node
	nodes int
	left  int // of maxMerged
}

// read returns the root of the hierarchy of files below root, as far as the folder dir is
// concerned: what lies in it, and what that inherits from.
func read(files map[string][]byte, root, dir string) (*node, error) {
	h := hierarchy{root: &node{dir: root, data: map[string]any{}}, left: maxMerged}
	within := nameOf(root, dir)
	type file struct{ name, of string }
	var all []file
	size := 0
	for name, content := range files {
		of := nameOf(root, strings.TrimSuffix(name, Suffix))
		if path.Base(name) == main {
			of = nameOf(root, path.Dir(name))
		}
		if root != "." && !below(root, name) || !below(within, of) && !below(of, within) || hidden(strings.TrimPrefix(name, root+"/")) {
			continue
		}
		size += len(content)
		all = append(all, file{name, of})
	}
	if len(all) > maxFiles || size > maxBytes {
		return nil, albs.Errorf(albs.Invalid, "the metadata of the folder %s is more than %d files or %d bytes", dir, maxFiles, maxBytes)
	}
	// Those of folders come behind those of what they lie in, and begin with their own.
	slices.SortFunc(all, func(a, b file) int {
		return cmp.Or(cmp.Compare(strings.Count(a.name, "/"), strings.Count(b.name, "/")), cmp.Compare(len(a.of), len(b.of)), strings.Compare(a.name, b.name))
	})
	for _, f := range all {
		if err := h.file(f.name, f.of, files[f.name]); err != nil {
			return nil, albs.Errorf(albs.Invalid, "%.200s: %v", f.name, err)
		}
	}
	var err error
	if h.root.data, err = h.merge(nil, h.root.data); err == nil {
		err = h.inherit(h.root)
	}
	return h.root, err
}

// hidden reports whether a file is none of the hierarchy: its name, or that of a folder,
// begins with a full stop.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
}

// file reads one file, which describes the node of that name.
func (h *hierarchy) file(name, of string, content []byte) error {
	if len(content) > maxFile {
		return albs.Errorf(albs.Invalid, "it has more than %d bytes", maxFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	err := d.Decode(&doc)
	n, made := h.at(h.root, of, path.Dir(name))
	switch {
	case made != nil:
		return made
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0: // an empty one
		return nil
	case err != nil:
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return albs.Errorf(albs.Invalid, "it has more than one document")
	}
	v, err := value(doc.Content[0], 0)
	if err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	data, ok := v.(map[string]any)
	if !ok {
		return albs.Errorf(albs.Invalid, "it has no keys")
	}
	return h.fill(n, data)
}

// fill gives a node its keys; those that begin with a slash are nodes below it.
func (h *hierarchy) fill(n *node, data map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if !strings.HasPrefix(key, "/") {
			if _, ok := n.data[key]; ok {
				return albs.Errorf(albs.Invalid, "%s has the key %.100s from another file, too", n.name, key)
			}
			n.data[key] = data[key]
			continue
		}
		child, err := h.at(n, n.name+"/"+strings.Trim(key, "/"), n.dir)
		if err != nil {
			return err
		}
		switch v := data[key].(type) {
		case nil:
		case map[string]any:
			if err := h.fill(child, v); err != nil {
				return err
			}
		default:
			return albs.Errorf(albs.Invalid, "%.100s has no keys", key)
		}
	}
	return nil
}

// at returns the node of a name, from that above it on, and makes what isn't there.
func (h *hierarchy) at(from *node, name, dir string) (*node, error) {
	n := from
	rest := strings.TrimPrefix(strings.TrimPrefix(name, from.name), "/")
	if rest == "" {
		if name != from.name { // the key /, which says how fmf is to read
			return nil, albs.Errorf(albs.Invalid, "the key / isn't supported")
		}
		n.dir = dir
		return n, nil
	}
	if strings.Count(name, "/") > maxDepth || len(name) > maxName {
		return nil, albs.Errorf(albs.Invalid, "the name %.100q is longer than %d bytes or %d steps", name, maxName, maxDepth)
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." || part == ".." {
			return nil, albs.Errorf(albs.Invalid, "%.100q is no name", name)
		}
		next := n.children[part]
		if next == nil {
			if h.nodes++; h.nodes > maxNodes {
				return nil, albs.Errorf(albs.Invalid, "the metadata describes more than %d objects", maxNodes)
			}
			next = &node{name: n.name + "/" + part, dir: dir, data: map[string]any{}}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[part] = next
		}
		n = next
	}
	n.dir = dir
	return n, nil
}

// inherit gives the nodes below n what they don't have themselves.
func (h *hierarchy) inherit(n *node) error {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		data, err := h.merge(n.data, child.data)
		if err != nil {
			return albs.Errorf(albs.Invalid, "%s: %v", child.name, err)
		}
		child.data = data
		if err := h.inherit(child); err != nil {
			return err
		}
	}
	return nil
}

// merge returns what own says, and of above what it doesn't. The suffix + adds to what
// stands above, the other suffixes of fmf aren't supported.
func (h *hierarchy) merge(above, own map[string]any) (map[string]any, error) {
	if h.left -= len(above); h.left < 0 {
		return nil, albs.Errorf(albs.Invalid, "what it inherits is more than %d keys and bytes", maxMerged)
	}
	data := maps.Clone(above)
	if data == nil {
		data = map[string]any{}
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		base, add := strings.CutSuffix(key, "+")
		if base == "" || strings.HasSuffix(base, "+") || strings.HasSuffix(key, "-") || strings.HasSuffix(key, "~") || strings.HasSuffix(key, "+<") {
			return nil, albs.Errorf(albs.Invalid, "the key %.100s isn't supported", key)
		}
		before, there := data[base]
		if !add || !there {
			data[base] = own[key]
			continue
		}
		sum, err := h.sum(before, own[key])
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "the key %.100s: %v", key, err)
		}
		data[base] = sum
	}
	return data, nil
}

// sum returns a with b added.
func (h *hierarchy) sum(a, b any) (any, error) {
	switch a := a.(type) {
	case scalar:
		b, ok := b.(scalar)
		if ok && a.tag == "!!str" && b.tag == "!!str" {
			if h.left -= len(a.text) + len(b.text); h.left < 0 {
				break
			}
			return scalar{a.text + b.text, a.tag}, nil
		}
	case []any:
		if b, ok := b.([]any); ok {
			if h.left -= len(a) + len(b); h.left < 0 {
				break
			}
			return slices.Concat(a, b), nil
		}
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			return h.merge(a, b)
		}
	}
	if h.left < 0 {
		return nil, albs.Errorf(albs.Invalid, "what it inherits is more than %d keys and bytes", maxMerged)
	}
	return nil, albs.Errorf(albs.Invalid, "it can't be added to what stands above it")
}

// value returns the value of a node of YAML: nil, a scalar, a []any or a map[string]any.
// Aliases, by which a few bytes may stand for any number, aren't supported.
func value(n *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, albs.Errorf(albs.Invalid, "its line %d is deeper than %d steps", n.Line, maxDepth)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if tag := n.ShortTag(); tag != "!!null" {
			return scalar{n.Value, tag}, nil
		}
		return nil, nil
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := value(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		data := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
				return nil, albs.Errorf(albs.Invalid, "its line %d has a key that isn't supported", key.Line)
			}
			if _, ok := data[key.Value]; ok {
				return nil, albs.Errorf(albs.Invalid, "its line %d has the key %.100s once more", key.Line, key.Value)
			}
			v, err := value(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			data[key.Value] = v
		}
		return data, nil
	}
	return nil, albs.Errorf(albs.Invalid, "its line %d has an alias, which isn't supported", n.Line)
}
