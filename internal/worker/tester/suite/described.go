package suite

import (
	"maps"
	"path"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/worker/tester/tmt"
)

// described returns the tests of a folder that metadata of tmt describes; none, and no
// error, if it holds no metadata.
func (t Tree) described(dir string) ([]Test, error) {
	files, there := map[string][]byte{}, false
	for _, f := range t.Files {
		if strings.HasSuffix(f.Name, tmt.Suffix) {
			files[f.Name] = f.Data
			there = there || dir == "." || strings.HasPrefix(f.Name, dir+"/")
		}
	}
	if !there {
		return nil, nil
	}
	root, ok := t.metadataRoot(dir)
	if !ok {
		return nil, albs.Errorf(albs.Invalid, "the folder %s has files %s, and neither it nor one above it has the file %s", dir, "*"+tmt.Suffix, tmt.Version)
	}
	found, err := tmt.Find(files, root, dir)
	if err != nil {
		return nil, err
	}
	var tests []Test
	for _, x := range found {
		if x.Skip != "" {
			tests = append(tests, Test{Name: x.Name, Part: x.Plan, Skip: x.Skip})
			continue
		}
		env := map[string]string{}
		maps.Copy(env, x.Environment)
		env["TMT_TREE"], env["TMT_TEST_NAME"] = path.Join(Folder, root), x.Name
		if _, err := Variables(env); err != nil {
			return nil, albs.Errorf(albs.Invalid, "%s: the key environment: %v", x.Name, err)
		}
		if !t.has(x.Dir) {
			return nil, albs.Errorf(albs.Invalid, "%s: the key path: there is no folder %s", x.Name, x.Dir)
		}
		tests = append(tests, Test{
			Name: x.Name, Part: x.Plan, Setup: x.Setup, Fails: x.Fails, Form: Code, Time: x.Duration, Env: env,
			Dir: x.Dir, Wants: x.Recommend, Needs: append([]string{bash}, x.Require...),
			Argv: []string{bash, "-e", "-o", "pipefail", "-c", x.Script}, // as tmt runs them
		})
	}
	return tests, nil
}

// metadataRoot returns the folder below which the metadata of dir forms one hierarchy: the
// nearest, itself or above, that says so.
func (t Tree) metadataRoot(dir string) (string, bool) {
	for {
		name := path.Join(dir, tmt.Version)
		if slices.ContainsFunc(t.Files, func(f File) bool { return f.Name == name }) {
			return dir, true
		}
		if dir == "." {
			return "", false
		}
		dir = path.Dir(dir)
	}
}
