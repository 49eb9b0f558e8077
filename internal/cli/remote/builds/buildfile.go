package builds

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// maxBuildFile bounds a file that says what to build, as the server does a request.
const maxBuildFile = 1 << 20

// besideFile are the flags that say nothing of the build itself.
var besideFile = []string{"file", "wait", "json"}

// createFromFile makes the build that a file says.
func (a app) createFromFile(c *urfave.Context) error {
	for _, f := range c.LocalFlagNames() {
		if !slices.Contains(besideFile, f) {
			return terminal.Misused(c, "the file says all of the build: --%s doesn't go with --file", f)
		}
	}
	file := c.String("file")
	b, err := a.ReadFile(file, "a YAML file that says what to build", maxBuildFile)
	if err != nil {
		return err
	}
	request, err := parseBuild(b)
	if err != nil {
		return ask.About(file, err)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	if err := uploadNamed(c.Context, cl, filepath.Dir(file), request); err != nil {
		return err
	}
	if b, err = json.Marshal(request); err != nil {
		return ask.About(file, albs.Errorf(albs.Invalid, "it can't be sent: %w", err))
	}
	made, err := cl.CreateBuildOf(c.Context, b, rand.Text())
	if err != nil {
		return ask.About(file, err)
	}
	return a.queued(c, cl, made)
}

// parseBuild reads YAML, or the JSON that it has in it, as the API's request for a
// build. What its members may be is the API's to say.
func parseBuild(b []byte) (map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var request map[string]any
	if err := d.Decode(&request); err != nil && !errors.Is(err, io.EOF) {
		return nil, albs.Errorf(albs.Invalid, "it isn't YAML of a build: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(request) == 0 {
		return nil, albs.Errorf(albs.Invalid, "it is empty: it says platforms and tasks, as the API's request for a build")
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, albs.Errorf(albs.Invalid, "it has more than one document: a file says one build")
	}
	return request, plainData(request, "")
}

// plainData returns an error for what YAML has and JSON hasn't, or says otherwise: a
// date would be sent as a moment, which no ref is called.
func plainData(v any, at string) error {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if err := plainData(v[k], strings.TrimPrefix(at+"."+k, ".")); err != nil {
				return err
			}
		}
	case []any:
		for i, m := range v {
			if err := plainData(m, at+"["+terminal.Decimal(i)+"]"); err != nil {
				return err
			}
		}
	case map[any]any:
		return albs.Errorf(albs.Invalid, "%s has a name that is no text: put it in quotes", at)
	case time.Time:
		return albs.Errorf(albs.Invalid, "%s is a date to YAML: put it in quotes", at)
	}
	return nil
}

// uploadNamed brings the SRPMs that a request names as files, from its own folder on, to
// the server, and names them by what they hold, as the API does.
func uploadNamed(ctx context.Context, cl *client.Client, dir string, request map[string]any) error {
	tasks, _ := request["tasks"].([]any)
	for _, t := range tasks {
		task, _ := t.(map[string]any)
		file, _ := task["srpm"].(string)
		if !strings.HasSuffix(file, ".src.rpm") {
			continue
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		digest, err := upload(ctx, cl, file)
		if err != nil {
			return err
		}
		task["srpm"] = digest
	}
	return nil
}
