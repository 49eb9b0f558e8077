package config

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/bucket"
	"albs/internal/egress"
	"albs/internal/ledger"
	"albs/internal/master/notice"
	"albs/internal/sandbox"
	"albs/internal/worker/node"
	"albs/internal/worker/releaser"
	"albs/internal/worker/releaser/further"
	"albs/internal/worker/tester"
	"albs/internal/worker/tester/engine/vm"
)

// TestExample: configs/albs.yaml reads as it stands, and names every key there is,
// each commented out with what it means.
func TestExample(t *testing.T) {
	t.Parallel()
	const path = "../../configs/albs.yaml"
	if _, err := Read(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Uncommented, it must still read: every example value is a good one.
	var lines []string
	for _, l := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(l, " "), "#: "); ok {
			l = l[:len(l)-len(strings.TrimLeft(l, " "))] + rest
		}
		lines = append(lines, l)
	}
	full := filepath.Join(t.TempDir(), "albs.yaml")
	if err := os.WriteFile(full, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(full); err != nil {
		t.Errorf("with every key set: %v", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(strings.Join(lines, "\n")), &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys("", reflect.TypeFor[Config]()) {
		if !has(tree, strings.Split(key, ".")) {
			t.Errorf("configs/albs.yaml doesn't explain %s", key)
		}
	}
}

// TestExampleExplains: above every key of configs/albs.yaml that holds a value stands
// what it means, unless what it lies in is said to be as another.
func TestExampleExplains(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../configs/albs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const none = -1
	like := none // the indent of what is as another
	before := ""
	for i, l := range strings.Split(string(b), "\n") {
		text := strings.TrimLeft(l, " ")
		indent := len(l) - len(text)
		key, isKey := strings.CutPrefix(text, "#: ")
		isKey = isKey || text != "" && text[0] != '#'
		comment := strings.HasPrefix(before, "# ")
		if isKey {
			if like != none && indent <= like {
				like = none
			}
			if comment && strings.HasPrefix(before, "# As ") {
				like = indent
			}
			leaf := !strings.HasSuffix(key, ":") || text[0] != '#'
			if leaf && like == none && !comment {
				t.Errorf("line %d: nothing explains %s", i+1, text)
			}
		}
		before = text
	}
}

// keys lists the keys that a struct takes, as paths with dots.
func keys(prefix string, t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case strings.Contains(opts, "inline"):
			out = append(out, keys(prefix, f.Type)...)
			continue
		case name == "":
			name = strings.ToLower(f.Name)
		}
		if f.Type.Kind() == reflect.Struct {
			out = append(out, keys(prefix+name+".", f.Type)...)
			continue
		}
		out = append(out, prefix+name)
	}
	return out
}

func has(tree map[string]any, path []string) bool {
	v, ok := tree[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	sub, ok := v.(map[string]any)
	return ok && has(sub, path[1:])
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, err string }{
		"empty":        {"", ""},
		"comment":      {"# nothing\n", ""},
		"a key":        {"log_level: debug\nmaster: {queue: {lease: 2s}}\n", ""},
		"unknown key":  {"loglevel: debug\n", "line 1"},
		"deep unknown": {"master:\n  queue:\n    leese: 2s\n", "line 3"},
		"bad value":    {"master: {queue: {lease: soon}}\n", "line 1"},
		"not a tree":   {"- a\n", "line 1"},
		"two trees":    {"log_level: debug\n---\nlog_level: info\n", "line 2: a second document"},
		"no Go words":  {"loglevel: debug\n", "there is no key loglevel here; configs/albs.yaml explains every key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "albs.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if (err == nil) != (c.err == "") || err != nil && (!errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("Read = %v, want Invalid with %q", err, c.err)
			}
		})
	}
	if _, err := Read("/nowhere/albs.yaml"); !errors.Is(err, albs.Invalid) {
		t.Errorf("Read of a missing file = %v", err)
	}
}

func TestParseRoles(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]albs.Role{
		"all":         albs.Roles,
		"master":      {albs.RoleMaster},
		"tester,node": {albs.RoleNode, albs.RoleTester}, // in the order in which they start
		"":            nil, "boss": nil, "node,node": nil, "all,node": nil,
	} {
		got, err := ParseRoles(in)
		if (err != nil) != (want == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseRoles(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
}

// TestCheck: a role refuses what it must not have.
func TestCheck(t *testing.T) {
	t.Parallel()
	withDSN := Config{}
	withDSN.Master.Database.DSNFile = "/etc/albs/dsn"
	withKeys := Config{}
	withKeys.Signer.Dir = "/var/lib/albs/keys"
	withBucket := Config{}
	withBucket.Master.Blobs.S3 = blob.S3Config{Config: bucket.Config{Endpoint: "https://s3.lan", Bucket: "b", AccessKeyFile: "/a", SecretKeyFile: "/s"}}
	halfBucket, backwards := withBucket, Config{}
	halfBucket.Master.Blobs.S3.Bucket = ""
	backwards.Master.Blobs.Scrub = -1
	served := Config{}
	served.Master.Ledger.Server = ledger.ServerConfig{Address: "immudb.lan:3322", Database: "albs", User: "albs", PasswordFile: "/p", TLS: true}
	halfServed, uncovered := served, served
	halfServed.Master.Ledger.Server.Database, uncovered.Master.Ledger.Server.CAFile = "", "/ca"
	uncovered.Master.Ledger.Server.TLS = false
	mailed := Config{}
	mailed.Master.Notices.Mail = notice.Mail{Server: "mail.lan:587", From: "albs@lan.example", User: "albs", PasswordFile: "/p"}
	inClear := mailed
	inClear.Master.Notices.Mail.Plain = true
	near := Config{}
	near.Master.Blobs.Copies = []string{"backup"}
	connected := Config{Connect: Connect{Master: "https://albs.example.org"}}
	for name, c := range map[string]struct {
		c     Config
		roles []albs.Role
		ok    bool
	}{
		"a node with the database": {withDSN, []albs.Role{albs.RoleNode}, false},
		"a master with keys":       {withKeys, []albs.Role{albs.RoleMaster}, false},
		"a signer with keys":       {withKeys, []albs.Role{albs.RoleSigner}, true},
		"all with both":            {withKeys, albs.Roles, true},
		"a master with a bucket":   {withBucket, []albs.Role{albs.RoleMaster}, true},
		"a node with a bucket":     {withBucket, []albs.Role{albs.RoleNode}, false},
		"a bucket without a name":  {halfBucket, []albs.Role{albs.RoleMaster}, false},
		"a ledger elsewhere":       {served, []albs.Role{albs.RoleMaster}, true},
		"a node with a ledger":     {served, []albs.Role{albs.RoleNode}, false},
		"a ledger without a name":  {halfServed, []albs.Role{albs.RoleMaster}, false},
		"an authority without TLS": {uncovered, []albs.Role{albs.RoleMaster}, false},
		"a master with mail":       {mailed, []albs.Role{albs.RoleMaster}, true},
		"a node with mail":         {mailed, []albs.Role{albs.RoleNode}, false},
		"mail in clear":            {inClear, []albs.Role{albs.RoleMaster}, false},
		"a copy somewhere":         {near, []albs.Role{albs.RoleMaster}, false},
		"scrubbing backwards":      {backwards, []albs.Role{albs.RoleMaster}, false},
		"a master that connects":   {connected, []albs.Role{albs.RoleMaster}, false},
		"a node that connects":     {connected, []albs.Role{albs.RoleNode}, true},
		"a master that is no URL":  {Config{Connect: Connect{Master: "albs.example.org"}}, []albs.Role{albs.RoleNode}, false},
		"a way out that is none":   {Config{Node: Node{Egress: egress.Policy{Allow: []string{"a b"}}}}, []albs.Role{albs.RoleNode}, false},
		"a limit below zero":       {Config{Node: Node{Config: node.Config{Sandbox: sandbox.Config{Limits: sandbox.Limits{Memory: -1}}}}}, []albs.Role{albs.RoleNode}, false},
		"an emulated arch":         {Config{Node: Node{Config: node.Config{Emulate: []albs.Arch{albs.S390X}}}}, []albs.Role{albs.RoleNode}, true},
		"an arch never emulated":   {Config{Node: Node{Config: node.Config{Emulate: []albs.Arch{albs.Noarch}}}}, []albs.Role{albs.RoleNode}, false},
		"an arch twice":            {Config{Tester: Tester{Config: tester.Config{Emulate: []albs.Arch{albs.S390X, albs.S390X}}}}, []albs.Role{albs.RoleTester}, false},
		"the host's own arch":      {Config{Node: Node{Config: node.Config{Emulate: []albs.Arch{albs.HostArch(runtime.GOARCH)}}}}, []albs.Role{albs.RoleNode}, false},
		"free disk below zero":     {Config{Node: Node{Config: node.Config{MinFree: -1}}}, []albs.Role{albs.RoleNode}, false},
		"a tester's below zero":    {Config{Tester: Tester{Config: tester.Config{MinFree: -1}}}, []albs.Role{albs.RoleTester}, false},
		"bases below zero":         {Config{Node: Node{Config: node.Config{Sandbox: sandbox.Config{BasesSize: -1}}}}, []albs.Role{albs.RoleNode}, false},
		"an engine that is none":   {Config{Node: Node{Config: node.Config{Engine: "docker"}}}, []albs.Role{albs.RoleNode}, false},
		"engines of tests":         {Config{Tester: Tester{Config: tester.Config{Engines: []string{"native", "podman"}}}}, []albs.Role{albs.RoleTester}, true},
		"no engine of tests":       {Config{Tester: Tester{Config: tester.Config{Engines: []string{"docker"}}}}, []albs.Role{albs.RoleTester}, false},
		"machines":                 {Config{Tester: Tester{Config: tester.Config{Engines: []string{"vm"}, VM: vm.Config{Memory: 1 << 30}}}}, []albs.Role{albs.RoleTester}, true},
		"machines too small":       {Config{Tester: Tester{Config: tester.Config{VM: vm.Config{Memory: 1 << 20}}}}, []albs.Role{albs.RoleTester}, false},
		"an engine twice":          {Config{Tester: Tester{Config: tester.Config{Engines: []string{"podman", "podman"}}}}, []albs.Role{albs.RoleTester}, false},
		"mock":                     {Config{Node: Node{Config: node.Config{Engine: node.EngineMock}}}, []albs.Role{albs.RoleNode}, true},
	} {
		c.c.LogLevel = "info"
		if err := c.c.Check(c.roles); (err == nil) != c.ok || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: Check = %v", name, err)
		}
	}
	loud := Config{LogLevel: "loud"}
	if err := loud.Check(albs.Roles); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "log_level") {
		t.Errorf("Check of a log level that there isn't = %v", err)
	}
}

// TestWarnings: a token that goes over a network in clear is warned of.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for master, want := range map[string]int{"": 0, "https://albs.lan": 0, "http://127.0.0.1:8080": 0, "http://albs.lan:8080": 1} {
		c := Config{Connect: Connect{Master: master}}
		if got := c.Warnings(); len(got) != want {
			t.Errorf("Warnings for %q = %q, want %d", master, got, want)
		}
		c = Config{}
		c.Master.Blobs.S3.Endpoint = master
		if got := c.Warnings(); len(got) != want {
			t.Errorf("Warnings for S3 at %q = %q, want %d", master, got, want)
		}
	}
}

// TestPlaceSecrets: the master's secrets come from their files, and only the master's.
func TestPlaceSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"dsn", "access", "secret"} {
		if err := os.WriteFile(file(name), []byte("the "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{}
	c.Master.Database.DSNFile = file("dsn")
	c.Master.Blobs.S3.AccessKeyFile, c.Master.Blobs.S3.SecretKeyFile = file("access"), file("secret")
	if err := c.Place(dir, "", "", []albs.Role{albs.RoleMaster}); err != nil {
		t.Fatal(err)
	}
	if s3 := c.Master.Blobs.S3; c.Master.Database.DSN != "the dsn" || s3.AccessKey != "the access" || s3.SecretKey != "the secret" {
		t.Errorf("read %q, %q, %q", c.Master.Database.DSN, s3.AccessKey, s3.SecretKey)
	}
	c.Master.Blobs.S3.SecretKeyFile = file("nowhere")
	if err := c.Place(dir, "", "", []albs.Role{albs.RoleMaster}); !errors.Is(err, albs.Invalid) {
		t.Errorf("Place with a secret that isn't there = %v", err)
	}
	if err := c.Place(dir, "", "", []albs.Role{albs.RoleNode}); err != nil {
		t.Errorf("Place of a node = %v", err)
	}
}

// TestPlacesOfReleaser: what further places need comes from its files too, and what roles of
// one process hold of blobs is a copy for the scrubber.
func TestPlacesOfReleaser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"access", "secret"} {
		if err := os.WriteFile(file(name), []byte("the "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s3 := bucket.Config{Endpoint: "http://s3.lan", Bucket: "b", AccessKeyFile: file("access"), SecretKeyFile: file("secret")}
	c := Config{LogLevel: "info", Releaser: releaser.Config{Places: []further.Place{{Name: "cdn", URL: "https://cdn.lan", S3: s3}}}}
	for role, want := range map[albs.Role]bool{albs.RoleReleaser: true, albs.RoleNode: false} {
		if err := c.Check([]albs.Role{role}); (err == nil) != want {
			t.Errorf("Check for %s = %v", role, err)
		}
	}
	if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], "place cdn") {
		t.Errorf("Warnings = %q, want one of http", got)
	}
	if err := c.Place(dir, "", "", []albs.Role{albs.RoleMaster, albs.RoleReleaser}); err != nil {
		t.Fatal(err)
	}
	if got := c.Releaser.Places[0].S3; got.AccessKey != "the access" || got.SecretKey != "the secret" {
		t.Errorf("read %q, %q", got.AccessKey, got.SecretKey)
	}
	if got := c.Master.Blobs.Copies; !slices.Equal(got, []string{c.Releaser.Public}) {
		t.Errorf("the master's copies are %q, want the public place", got)
	}
	c.Releaser.Places[0].Rsync.Host = "mirror.lan"
	if err := c.Check([]albs.Role{albs.RoleReleaser}); !errors.Is(err, albs.Invalid) {
		t.Errorf("Check of a place in two places = %v", err)
	}
}

// TestNoSecretsWithin: what is secret has no place in a configuration, only the name of a
// file or of another way to ask for it.
func TestNoSecretsWithin(t *testing.T) {
	t.Parallel()
	secret := regexp.MustCompile(`(^|_)(secret|password|passphrase|token|pin|dsn|credentials?)(_|$)`)
	seen := 0
	var walk func(at string, kind reflect.Type)
	walk = func(at string, kind reflect.Type) {
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice || kind.Kind() == reflect.Map {
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.String || kind.Kind() == reflect.Uint8 {
			key := at[strings.LastIndexByte(at, '.')+1:]
			if !secret.MatchString(key) {
				return
			}
			if seen++; !strings.HasSuffix(key, "_file") && !strings.HasSuffix(key, "_from") {
				t.Errorf("%s holds a secret itself", at)
			}
			return
		}
		if kind.Kind() != reflect.Struct {
			return
		}
		for i := range kind.NumField() {
			f := kind.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if f.IsExported() && name != "-" {
				walk(at+"."+cmp.Or(name, strings.ToLower(f.Name)), f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	if seen < 5 {
		t.Errorf("%d keys are about secrets: the rule finds nothing", seen)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("albs_wsecret\n", 0o600)
	if s, err := Secret(path); s != "albs_wsecret" || err != nil {
		t.Errorf("Secret = %q, %v", s, err)
	}
	write("albs_wsecret\n", 0o640)
	if _, err := Secret(path); !errors.Is(err, albs.Invalid) || strings.Contains(err.Error(), "albs_wsecret") {
		t.Errorf("a secret that the group can read: %v", err)
	}
	write("\n", 0o600)
	if _, err := Secret(path); !errors.Is(err, albs.Invalid) {
		t.Errorf("an empty secret: %v", err)
	}
}
