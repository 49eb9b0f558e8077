package e2etest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/blob/s3test"
	"albs/internal/client"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/historytest"
)

// How long a worker holds a task: too short for a build where a test is about what
// happens when a lease runs out, and else long enough for a machine that is busy
// with other tests, which may keep a worker from renewing for seconds.
const (
	shortLease = 2 * time.Second
	longLease  = 30 * time.Second
)

// site is one installation: its folder, its processes, the people who use it.
type site struct {
	t       *testing.T
	dir     string
	seed    string
	forge   *forge
	lease   time.Duration
	listen  string         // the master's address
	url     string         // the same as a URL
	api     *client.Client // alice's
	admin   string         // tokens
	alice   string
	bob     string
	secrets []string            // that must be nowhere
	master  string              // the program that plays the master, where it isn't the usual one
	env     []string            // of all processes, beside the usual
	dsn     string              // of the database; "" is in the master's directory
	s3      blob.S3Config       // where the blobs are; the zero value is in the master's directory
	served  ledger.ServerConfig // where the ledger is; likewise
	mu      sync.Mutex
	procs   []*process
}

// newSite makes an installation without processes.
func newSite(t *testing.T) *site {
	t.Helper()
	listen := freeAddress(t)
	s := &site{
		t: t, dir: folder(t, self, t.Name()), seed: seed(t), forge: theForge(t), lease: longLease,
		listen: listen, url: "http://" + listen,
	}
	if os.Getenv(outside) != "" {
		s.goOutside()
	}
	return s
}

// outside, set to anything, has all tests run with database, blobs and ledger outside of
// the master; else TestPostgresAndS3 and TestTwoMasters alone do. testdata/postgres.sh,
// testdata/s3.sh and testdata/immudb.sh have to run them.
const outside = "ALBS_E2E_OUTSIDE"

// goOutside has the site's masters keep their database in PostgreSQL, their blobs in a
// bucket of an S3 server and their ledger on an immudb server.
func (s *site) goOutside() {
	s.t.Helper()
	if s.dsn != "" {
		return
	}
	s.dsn, s.s3 = dbtest.Postgres(s.t).DSN, s3test.Config(s.t)
	s.served = ledgertest.StartImmudb(s.t, "").Database(s.t)
	s.secrets = append(s.secrets, s.dsn, s.s3.SecretKey, s.served.Password)
}

// database is that of the master whose process has that name.
func (s *site) database(master string) db.Config {
	if s.dsn != "" {
		return db.Config{DSN: s.dsn}
	}
	return db.Config{File: filepath.Join(s.dir, master, "master/albs.db")}
}

// means returns where the configuration of a master that runs as who says its database,
// its blobs and its ledger are.
func (s *site) means(who identity) yes {
	s.t.Helper()
	if s.dsn == "" {
		return nil
	}
	secret := func(name, text string) string {
		file := filepath.Join(s.dir, fmt.Sprintf("%s-%d", name, who.uid))
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
		who.own(s.t, file)
		return file
	}
	return yes{
		"database": yes{"dsn_file": secret("dsn", s.dsn)},
		"ledger": yes{"server": yes{
			"address": s.served.Address, "database": s.served.Database, "user": s.served.User, "password_file": secret("immudb-password", s.served.Password),
		}},
		"blobs": yes{"s3": yes{
			"endpoint": s.s3.Endpoint, "bucket": s.s3.Bucket, "prefix": s.s3.Prefix,
			"access_key_file": secret("access-key", s.s3.AccessKey), "secret_key_file": secret("secret-key", s.s3.SecretKey),
		}},
	}
}

// freeAddress is one on loopback that a master can come back to: its port is below
// those that the kernel gives to whoever connects, and that it might give away while
// the master is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("there is no free port from 20000 to 32000")
	return ""
}

// process is a server that runs.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	log    string
	before int64         // bytes in the log by earlier ones of its name
	done   chan struct{} // closed when it has ended
	err    error         // how; read after done
}

// yes is a YAML mapping.
type yes = map[string]any

// config returns the configuration of the roles, as their process gets it.
func (s *site) config(who identity, roles []string, change yes) string {
	s.t.Helper()
	c := yes{"log_level": "info"}
	local := yes{"allow": []string{"file://" + s.seed}}
	// Who has no name has no lent ids either; every file of Seed Linux is root's.
	sandbox := yes{"single_uid": strings.HasPrefix(who.name, "stranger")}
	for _, r := range roles {
		switch r {
		case "master":
			c["master"] = yes{
				"egress": yes{"allow": []string{s.forge.host, "file://" + s.seed}, "ca_files": []string{s.forge.ca}},
				"queue":  yes{"lease": s.lease.String(), "backoff": "200ms"},
			}
			set(c["master"].(yes), s.means(who))
		case "node", "tester":
			sandbox["dir"] = kept(s.t, who, fmt.Sprintf("roots-%d", who.uid))
			c[r] = yes{"sandbox": sandbox, "egress": local}
		}
	}
	set(c, change)
	return encode(s.t, c)
}

// set sets in a mapping what change has, in mappings within it too.
func set(c, change yes) {
	for k, v := range change {
		old, ok := c[k].(yes)
		if new, both := v.(yes); ok && both {
			set(old, new)
			continue
		}
		c[k] = v
	}
}

// allRoles are those of --role=all.
var allRoles = []string{"master", "node", "tester", "signer", "releaser"}

// serve starts a process that plays roles as who, with its data in data. If it is
// the master, serve returns when requests are answered, and the site has its admin's
// token, which the first start prints. Workers know the master by connect.
func (s *site) serve(name string, who identity, roles []string, change yes) *process {
	s.t.Helper()
	data := s.data(name, who)
	config := filepath.Join(s.dir, name+".yaml")
	if err := os.WriteFile(config, []byte(s.config(who, roles, change)), 0o644); err != nil {
		s.t.Fatal(err)
	}
	args := []string{"serve", "--role", strings.Join(roles, ","), "--data", data, "--config", config}
	master := slices.Contains(roles, "master")
	if master {
		args = append(args, "--listen", s.listen)
	}
	program := filepath.Join(binaries(s.t), "albs")
	if master && s.master != "" {
		program = s.master
	}
	p := s.start(name, who, program, args...)
	if master {
		s.await(p)
	}
	return p
}

// data is the data directory of the process of that name.
func (s *site) data(name string, who identity) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		s.t.Fatal(err)
	}
	who.own(s.t, dir)
	return dir
}

// start starts a program whose words go into a log file; it ends with the test.
func (s *site) start(name string, who identity, path string, args ...string) *process {
	s.t.Helper()
	p := &process{t: s.t, name: name, cmd: exec.Command(path, args...), log: filepath.Join(s.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		s.t.Fatal(err)
	}
	p.before = info.Size()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Dir = "/"
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.dir, name), "LANG=C.UTF-8"}
	p.cmd.Env = append(p.cmd.Env, s.env...)
	if err := start(p.cmd, who); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	s.mu.Lock()
	s.procs = append(s.procs, p)
	s.mu.Unlock()
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() && s.proc(name) == p { // one log serves all processes of a name
			s.t.Logf("the last words of %s:\n%s", name, tail(p.log, 60))
		}
	})
	return p
}

func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// words returns what the process itself, and no earlier one of its name, has said.
func (p *process) words() string {
	p.t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b[min(p.before, int64(len(b))):])
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// said returns how many bytes the process has written to its log.
func (p *process) said() int64 {
	info, err := os.Stat(p.log)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	return info.Size() - p.before
}

// kill ends the process as a power failure would.
func (p *process) kill() {
	if p.running() {
		p.cmd.Process.Kill()
		<-p.done
	}
}

// signal sends a signal to the process, which has to be running.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %s: %v", p.name, err)
	}
}

// stop has the process end in order.
func (p *process) stop() {
	p.t.Helper()
	if !p.running() {
		p.t.Fatalf("%s has ended: %v\n%s", p.name, p.err, tail(p.log, 40))
	}
	// One that has said nothing yet may not be listening for signals.
	for late := time.After(2 * time.Minute); p.running() && p.said() == 0; {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late:
			p.t.Errorf("%s says nothing for 30 s", p.name)
			p.kill()
			return
		}
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Errorf("%s ended with %v\n%s", p.name, p.err, tail(p.log, 40))
		}
	case <-time.After(2 * time.Minute):
		p.t.Errorf("%s did not end within 30 s of SIGTERM", p.name)
		p.kill()
	}
}

// stop ends all processes, the last first.
func (s *site) stop() {
	s.t.Helper()
	for _, p := range slices.Backward(s.procs) {
		if p.running() {
			p.stop()
		}
	}
}

var tokenLine = regexp.MustCompile(`(?m)^ *admin token: *(albs_\S+)$`)

// await waits until the master answers.
func (s *site) await(p *process) {
	s.t.Helper()
	s.until(3*time.Minute, "the master answers", func() bool {
		if !p.running() {
			s.t.Fatalf("%s has ended: %v\n%s", p.name, p.err, tail(p.log, 40))
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/openapi.json", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	if s.admin == "" {
		b, err := os.ReadFile(p.log)
		if err != nil {
			s.t.Fatal(err)
		}
		m := tokenLine.FindSubmatch(b)
		if m == nil {
			s.t.Fatal("the first start printed no admin token")
		}
		s.admin = string(m[1])
	}
}

// until waits for cond, which is asked ten times a second.
func (s *site) until(within time.Duration, what string, cond func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			s.t.Fatalf("%v have passed and it doesn't hold: %s", within, what)
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		}
	}
}

// answer is how a command ended.
type answer struct {
	code           int
	stdout, stderr string
}

// try runs a command of the binary as the holder of token.
func (s *site) try(token string, args ...string) answer {
	s.t.Helper()
	return s.at(s.url, token, args...)
}

// at is try against the server at url.
func (s *site) at(url, token string, args ...string) answer {
	s.t.Helper()
	cmd := command(s.t, 5*time.Minute, filepath.Join(binaries(s.t), "albs"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "ALBS_URL=" + url, "ALBS_TOKEN=" + token}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := start(cmd, self)
	if err == nil {
		err = cmd.Wait()
	}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.t.Fatalf("albs %q: %v", args, err)
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), said.String()}
}

// run is try for a command that has to succeed; it returns what it printed.
func (s *site) run(token string, args ...string) string {
	s.t.Helper()
	a := s.try(token, args...)
	if a.code != 0 {
		s.t.Fatalf("albs %s: exit code %d\n%s%s", strings.Join(args, " "), a.code, a.stdout, a.stderr)
	}
	return a.stdout
}

// ask runs a command with --json and decodes what it printed.
func ask[T any](s *site, token string, args ...string) T {
	s.t.Helper()
	var v T
	if out := s.run(token, append(args, "--json")...); !decode(out, &v) {
		s.t.Fatalf("albs %s --json printed %.400q", strings.Join(args, " "), out)
	}
	return v
}

func decode(text string, into any) bool { return json.Unmarshal([]byte(text), into) == nil }

// file writes a file of the site and returns its path.
func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// people makes alice, who builds, signs and plans, and bob, who approves.
func (s *site) people() {
	s.t.Helper()
	for name, roles := range map[string][]string{
		"alice": {"contributor", "signer", "product_maintainer"},
		"bob":   {"product_maintainer"},
	} {
		s.run(s.admin, "user", "add", name)
		for _, r := range roles {
			s.run(s.admin, "user", "grant", name, r, "--team", "demo")
		}
	}
	token := func(name string) string {
		return ask[struct{ Secret string }](s, s.admin, "token", "create", "--user", name).Secret
	}
	s.alice, s.bob = token("alice"), token("bob")
	if s.alice == "" || s.bob == "" {
		s.t.Fatal("token create printed no secret")
	}
	var err error
	if s.api, err = client.New(s.url, s.alice, nil); err != nil {
		s.t.Fatal(err)
	}
}

// tinyPackages is what a buildroot needs for specs that compile nothing.
var tinyPackages = []string{
	"bash", "coreutils", "diffutils", "file", "findutils", "gawk", "grep", "gzip", "redhat-rpm-config", "rpm-build", "sed", "shadow-utils", "system-release", "tar", "util-linux", "xz",
}

// platform applies a platform made of Seed Linux; change may set keys of it.
func (s *site) platform(name string, change yes) {
	s.t.Helper()
	s.run(s.admin, "platform", "apply", s.platformFile(name, change))
}

// platformFile writes what platform applies, and returns the file's path.
func (s *site) platformFile(name string, change yes) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(module, "configs/platforms/seed.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	var p yes
	if err := yaml.Unmarshal(b, &p); err != nil {
		s.t.Fatal(err)
	}
	p["name"] = name
	p["repositories"] = []yes{{"id": "seed", "url": "file://" + s.seed}}
	p["lookaside"] = []string{s.forge.url + "/lookaside/{hash}"}
	for k, v := range change {
		p[k] = v
	}
	return s.file("platform-"+name+".yaml", encode(s.t, p))
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tiny applies the platform tiny, whose roots are made in a few seconds.
func (s *site) tiny() {
	s.t.Helper()
	s.platform("tiny", yes{"packages": tinyPackages, "test_packages": []string{"bash", "coreutils", "rpm", "system-release"}})
}

// product applies the product demo of a platform.
func (s *site) product(platform string, more ...string) {
	s.t.Helper()
	s.run(s.admin, "product", "apply", s.file("product.yaml", fmt.Sprintf(`
name: demo
title: Packages
team: demo
platforms: [%[1]s]
key: demo
repositories:
  - {path: %[1]s/main/x86_64/os, platform: %[1]s, arch: x86_64, kind: rpm}
  - {path: %[1]s/main/x86_64/debug, platform: %[1]s, arch: x86_64, kind: debug}
  - {path: %[1]s/main/source, platform: %[1]s, arch: src, kind: source}
gate: {tests: required}
approvals: {count: 1, distinct: true}
%[2]s
`, platform, strings.Join(more, "\n"))))
}

// key has the signer make the product's key.
func (s *site) key(algorithm string) {
	s.t.Helper()
	s.run(s.admin, "key", "generate", "demo", "--user-id", "albs test <test@example.org>", "--algorithm", algorithm, "--wait")
}

// build starts a build of the packages and returns its number.
func (s *site) build(platform string, packages ...string) string {
	s.t.Helper()
	args := []string{"build", "create", "--platform", platform, "--product", "demo", "--arch", "x86_64"}
	for _, p := range packages {
		args = append(args, "--git", p)
	}
	return ask[client.Build](s, s.alice, args...).ID.String()
}

// built waits until a build and its tests are over, and wants it to have succeeded.
func (s *site) built(id string) client.Build {
	s.t.Helper()
	s.run(s.alice, "build", "watch", id)
	return s.show(id)
}

func (s *site) show(id string) client.Build {
	s.t.Helper()
	return ask[client.Build](s, s.alice, "build", "show", id)
}

// number is a build's number as the client takes it.
func (s *site) number(id string) albs.BuildID {
	s.t.Helper()
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return albs.BuildID(n)
}

// release has a build signed and published, and returns the release's number.
func (s *site) release(build string) string {
	s.t.Helper()
	s.signed(build)
	return s.publish(build)
}

// signed has a build signed, and waits until the copies are tested as the packages were.
func (s *site) signed(build string) {
	s.t.Helper()
	s.run(s.alice, "sign", build, "--key", "demo", "--wait")
	s.until(5*time.Minute, "the signed packages of build "+build+" are tested", func() bool {
		runs, err := s.api.Tests(s.t.Context(), s.number(build))
		if err != nil {
			s.t.Fatal(err)
		}
		left := map[string]int{}
		for _, r := range runs.Value {
			for _, p := range r.Packages {
				switch {
				case p.SignedBy == "":
					left[fmt.Sprint(r.BuildTask, p.NEVRA)] = 1
				case r.State.Final():
					delete(left, fmt.Sprint(r.BuildTask, p.NEVRA))
				}
			}
		}
		return len(left) == 0
	})
}

// publish plans the release of a build as alice, has bob approve it, and publishes
// it. It returns the release's number.
func (s *site) publish(build string) string {
	s.t.Helper()
	id := ask[client.Release](s, s.alice, "release", "plan", "--product", "demo", "--build", build).ID.String()
	if a := s.try(s.alice, "release", "publish", id, "--wait"); a.code != 1 {
		s.t.Errorf("publishing without an approval ended with %+v, want exit code 1", a)
	}
	if a := s.try(s.alice, "release", "approve", id); a.code != 1 {
		s.t.Errorf("the planner's own approval ended with %+v, want exit code 1", a)
	}
	s.run(s.bob, "release", "approve", id)
	s.run(s.alice, "release", "publish", id, "--wait")
	return id
}

// check stops everything and reports every broken invariant of what is left; master
// and releaser are the names of their processes.
func (s *site) check(master, releaser string) {
	s.t.Helper()
	s.stop()
	s.checkStopped(master, releaser)
}

// checkStopped is check for a site whose processes have ended.
func (s *site) checkStopped(master, releaser string) {
	t := s.t
	t.Helper()
	ctx := t.Context()
	d, err := db.Open(ctx, s.database(master))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	dir := filepath.Join(s.dir, master, "master")
	blobs, err := s.blobs(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := s.ledger(dir)
	defer l.Close()
	place := historytest.Place{
		DB: d, Blobs: blobs, Ledger: l, Public: filepath.Join(s.dir, releaser, "releaser/public"),
		Logs: []string{filepath.Join(dir, "logs")}, Hidden: s.secrets,
	}
	seen := map[string]bool{} // one log serves all processes of a name
	for _, p := range s.procs {
		if !seen[p.log] {
			seen[p.log] = true
			place.Logs = append(place.Logs, s.withoutWelcome(p.log))
		}
	}
	found, err := historytest.Check(ctx, place)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
	// Who looked may have made files that the master has to open again.
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	identity{"the master's", int(owner.Uid), int(owner.Gid)}.ownAll(t, dir)
}

// ledger opens the ledger of the master whose directory is dir.
func (s *site) ledger(dir string) (l ledger.Ledger) {
	s.t.Helper()
	var err error
	if s.served.Address != "" {
		l, err = ledger.OpenServer(s.served)
	} else {
		l, err = ledger.OpenEmbedded(filepath.Join(dir, "ledger"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// audit has the master check its whole ledger, and an export of it checked without it.
func (s *site) audit() {
	s.t.Helper()
	s.until(time.Minute, "no check of the ledger runs", func() bool { // one begins with the master
		a := s.try(s.admin, "ledger", "check", "--from", "start")
		if a.code != 0 && !strings.Contains(a.stderr, "a check of the ledger runs") {
			s.t.Fatalf("the check of the ledger: %+v", a)
		}
		return a.code == 0
	})
	export, trust := filepath.Join(s.dir, "ledger.jsonl"), filepath.Join(s.dir, "audit-trust.json")
	s.run(s.admin, "ledger", "export", "--output", export)
	s.run(s.alice, "trust", "export", "--output", trust)
	s.run("", "ledger", "check", export, "--trust", trust)
}

// blobs opens the blobs of the master whose directory is dir, as they are stored.
func (s *site) blobs(dir string) (blob.Store, error) {
	if s.s3.Bucket == "" {
		return blob.NewDir(filepath.Join(dir, "blobs"))
	}
	return blob.NewS3(s.t.Context(), s.s3, s.t.TempDir())
}

// withoutWelcome returns a copy of a log without the admin's token, which the first
// start prints on purpose.
func (s *site) withoutWelcome(log string) string {
	s.t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.file(filepath.Base(log)+".checked", tokenLine.ReplaceAllString(string(b), "admin token: …"))
}
