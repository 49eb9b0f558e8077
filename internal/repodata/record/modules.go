package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
	"albs/internal/rpm"
)

// maxDocument bounds one document of a modules.yaml: parsed, YAML takes up a hundred
// times its bytes.
const maxDocument = 2 << 20

// documents are the kinds that libmodulemd reads from a repository.
var documents = []string{"modulemd", "modulemd-defaults", "modulemd-obsoletes", "modulemd-translations"}

// checkModules wants a stream of modulemd documents.
func checkModules(b []byte) error {
	n := 0
	for line := 1; len(b) > 0; {
		doc := b[:end(b)]
		b = b[len(doc):]
		found, err := checkModule(doc)
		if err != nil {
			return fmt.Errorf("the document at line %d: %w", line, err)
		}
		if found {
			n++
		}
		line += bytes.Count(doc, []byte("\n"))
	}
	if n == 0 {
		return errors.New("it has no document")
	}
	return nil
}

// end returns where the document at the beginning of b ends: before the next line that
// begins one (YAML 1.2 §9.1.2; a line that begins so is never a part of a text).
func end(b []byte) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("\n---"))
		if i < 0 {
			return len(b)
		}
		at += i + 1
		if rest := b[at+3:]; len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0 {
			return at
		}
	}
}

// checkModule looks at one document; found is false for one without content, as a
// comment at the beginning is.
func checkModule(b []byte) (found bool, err error) {
	if len(b) > maxDocument {
		return false, albs.Errorf(albs.TooLarge, "it has more than %d bytes", maxDocument)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return false, errors.New("something follows it")
	}
	if len(doc.Content) != 1 {
		return false, errors.New("it is not one value")
	}
	if err := noAlias(&doc); err != nil {
		return false, err
	}
	top, err := members(doc.Content[0])
	if err != nil {
		return false, err
	}
	name, version, data := top["document"], top["version"], top["data"]
	switch {
	case name == nil || !slices.Contains(documents, name.Value):
		return false, fmt.Errorf("its member document is not one of %v", documents)
	case version == nil || version.ShortTag() != "!!int":
		return false, errors.New("its member version is no number")
	case data == nil || data.Kind != yaml.MappingNode:
		return false, errors.New("its member data is no mapping")
	}
	if name.Value != "modulemd" {
		return true, nil
	}
	in, err := members(data)
	if err != nil {
		return false, err
	}
	for _, member := range []string{"name", "stream"} {
		if v := in[member]; v == nil || v.Kind != yaml.ScalarNode || v.Value == "" {
			return false, fmt.Errorf("its data has no %s", member)
		}
	}
	return true, nil
}

// noAlias refuses aliases, by which a few bytes may stand for any number of them. No
// tool that writes modules uses them.
func noAlias(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fmt.Errorf("it has an anchor or an alias in its line %d, which are not accepted", n.Line)
	}
	for _, c := range n.Content {
		if err := noAlias(c); err != nil {
			return err
		}
	}
	return nil
}

// members returns the members of a mapping by name; one that is there twice is an error.
func members(n *yaml.Node) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, errors.New("it is no mapping")
	}
	out := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if out[name] != nil {
			return nil, fmt.Errorf("its member %.40q is there twice", name)
		}
		out[name] = n.Content[i+1]
	}
	return out, nil
}

// Stream is one version of a module's stream, as a record of modules has it.
type Stream struct {
	Name, Stream, Version, Context string
	// Packages are those that the stream has in the repository.
	Packages []rpm.NEVRA
}

// Streams returns the streams of a modules record, plain or compressed by gzip, zstd or xz,
// in its order. Packages whose names none of ours can have are left out. It gives Invalid
// for what Make wouldn't take, and TooLarge.
func Streams(r io.Reader) ([]Stream, error) {
	b, err := plain(r)
	if err == nil {
		err = checkModules(b)
	}
	if err != nil {
		return nil, intake.Refused("the record modules", err)
	}
	var out []Stream
	for len(b) > 0 {
		doc := b[:end(b)]
		b = b[len(doc):]
		var m struct {
			Document string `yaml:"document"`
			Data     struct {
				Name      string `yaml:"name"`
				Stream    string `yaml:"stream"`
				Version   string `yaml:"version"`
				Context   string `yaml:"context"`
				Artifacts struct {
					RPMs []string `yaml:"rpms"`
				} `yaml:"artifacts"`
			} `yaml:"data"`
		}
		if err := yaml.Unmarshal(doc, &m); err != nil {
			return nil, intake.Refused("the record modules", err)
		}
		if m.Document != "modulemd" {
			continue
		}
		s := Stream{Name: m.Data.Name, Stream: m.Data.Stream, Version: m.Data.Version, Context: m.Data.Context}
		for _, a := range m.Data.Artifacts.RPMs {
			if n, err := rpm.ParseNEVRA(a); err == nil {
				s.Packages = append(s.Packages, n)
			}
		}
		out = append(out, s)
	}
	return out, nil
}
