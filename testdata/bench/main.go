// Command bench measures albs beside its peers in one run, prints the table and
// writes bench.json.
//
//	go run ./testdata/bench [-only PREFIX]
//
// A row is the median of at least five runs; pairs alternate, caches are warm. A row that
// fails is named with its run, the others are measured, and the exit code is 1. It starts
// albs serve --role=all with Seed Linux on loopback, as the user albs if it is run by
// root, and ends what it started.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"albs/internal/pgp"
	"albs/internal/sandbox"
)

// row is one line of bench.json.
type row struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Ours     float64 `json:"ours"`
	Peer     float64 `json:"peer,omitempty"`
	PeerName string  `json:"peer_name,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // peer ÷ ours where faster is asked, ours ÷ peer where a ceiling is
	Goal     string  `json:"goal"`
	Met      bool    `json:"met"`
}

// measures are the rows in the order in which they run.
var measures = []struct {
	name string
	run  func(ctx context.Context, b *bench) ([]row, error)
}{
	{"ready", ready},
	{"idle-rss", idle},
	{"warm-build", warmBuild},
	{"test-packages", testPackages},
	{"dispatch-p99-sqlite", dispatchSQLite},
	{"dispatch-p99-postgres", dispatchPostgres},
	{"mass-rebuild", massRebuild},
	{"sign-rsa4096-100", sign(pgp.RSA4096, 6)},
	{"sign-ed25519-100", sign(pgp.Ed25519, 20)},
	{"publish-1-of-1000", publishOne(1_000)},
	{"publish-1-of-10000", publishOne(10_000)},
	{"publish-1-of-50000", publishOne(50_000)},
	{"metadata-1000", metadata(1_000)},
	{"metadata-10000", metadata(10_000)},
	{"metadata-50000", metadata(50_000)},
	{"release-1000-of-12", releaseMany},
	{"release-whole", releaseWhole},
	{"notarize", notarize},
	{"errata-match", matchErrata},
	{"errata-outputs-500", outputs(500)},
	{"errata-outputs-5000", outputs(5_000)},
	{"errata-shown-500", showErrata(500)},
	{"errata-shown-5000", showErrata(5_000)},
	{"verify-offline", verifyOffline("verify-offline", 10, 0)},
	{"verify-offline-100", verifyOffline("verify-offline-100", 100, verifyMost)},
}

func main() {
	sandbox.MaybeInit()
	only := flag.String("only", "", "run the rows whose name begins so")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := func() error { return run(ctx, *only) }
	if flag.Arg(0) == asUser {
		do = func() error { return measureEngines(ctx, flag.Args()[1:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	var rows []row
	var failed []string
	for _, m := range measures {
		if !strings.HasPrefix(m.name, only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", m.name)
		r, err := m.run(ctx, b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", m.name, err)
			failed = append(failed, m.name)
			continue
		}
		rows = append(rows, r...)
	}
	if len(failed) > 0 {
		return errors.Join(show(rows), fmt.Errorf("not measured: %s", strings.Join(failed, ", ")))
	}
	if len(rows) == 0 {
		return fmt.Errorf("no row that begins with %q was measured", only)
	}
	return show(rows)
}

// show prints the rows and writes them to bench.json.
func show(rows []row) error {
	fmt.Printf("%-22s %10s %10s  %-28s %7s  %-4s %s\n", "name", "ours", "peer", "peer's name", "ratio", "met", "goal")
	for _, r := range rows {
		fmt.Printf("%-22s %8.3f %s %8.3f %s  %-28s %7.2f  %-4v %s\n", r.Name, r.Ours, r.Unit, r.Peer, r.Unit, r.PeerName, r.Ratio, r.Met, r.Goal)
	}
	out, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile("bench.json", append(out, '\n'), 0o644)
}

// bench is a scratch directory with the binary in it.
type bench struct {
	dir  string
	cred *syscall.Credential // of the user albs, when run by root
	home string
}

func newBench(ctx context.Context) (*bench, error) {
	dir, err := os.MkdirTemp("/var/tmp", "albs-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, home: dir}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("albs")
		if err != nil {
			return nil, fmt.Errorf("testdata/setup.sh makes the user albs: %w", err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		b.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "albs"), ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	return b, nil
}

func (b *bench) close() {
	// Roots hold files of subordinate ids, which their user can't remove alone.
	args := []string{"rm", "-rf", b.dir}
	if b.cred == nil {
		args = append([]string{"unshare", "--map-root-user", "--map-auto"}, args...)
	}
	if err := exec.Command(args[0], args[1:]...).Run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s is left behind: %v\n", b.dir, err)
	}
}

// server is a running albs serve --role=all.
type server struct {
	cmd   *exec.Cmd
	url   string
	token string
	ready time.Duration
}

// serve starts a server of all roles on fresh or earlier data and waits until it answers.
func (b *bench) serve(ctx context.Context, data, config string) (*server, error) {
	return b.serveAs(ctx, "all", data, config)
}

func (b *bench) serveAs(ctx context.Context, roles, data, config string) (*server, error) {
	log, err := os.Create(filepath.Join(b.dir, "serve.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--role", roles, "--data", data, "--listen", listen}
	if config != "" {
		args = append(args, "--config", config)
	}
	s := &server{cmd: exec.Command(filepath.Join(b.dir, "albs"), args...), url: "http://" + listen}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "HOME="+b.home)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.cred, Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	hc := &http.Client{Timeout: 10 * time.Second}
	for time.Since(start) < 30*time.Second {
		r, err := hc.Get(s.url + "/api/v1/openapi.json")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				s.ready = time.Since(start)
				text, err := os.ReadFile(log.Name())
				if err != nil {
					return nil, err
				}
				if _, after, ok := strings.Cut(string(text), "admin token:"); ok {
					s.token = strings.Fields(after)[0]
				}
				return s, nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	return nil, errors.Join(fmt.Errorf("the server doesn't answer: %s", text), s.stop())
}

// freeAddress is one on loopback that nobody listens at, so that no other server is
// measured.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

const runs = 5

func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	return s[len(s)/2]
}

// ready: from exec to the first answer, on data that is there already.
func ready(ctx context.Context, b *bench) ([]row, error) {
	data := filepath.Join(b.dir, "ready")
	var times []float64
	for i := range runs + 1 {
		s, err := b.serve(ctx, data, "")
		if err != nil {
			return nil, err
		}
		if err := s.stop(); err != nil {
			return nil, err
		}
		if i > 0 { // the first makes the data
			times = append(times, s.ready.Seconds())
		}
	}
	m := median(times)
	return []row{{Name: "ready", Unit: "s", Ours: m, Goal: "ready in < 1 s", Met: m < 1}}, nil
}

// idle: resident memory of the one process, three seconds after its start.
func idle(ctx context.Context, b *bench) ([]row, error) {
	var sizes []float64
	for range runs {
		s, err := b.serve(ctx, filepath.Join(b.dir, "idle"), "")
		if err != nil {
			return nil, err
		}
		time.Sleep(3 * time.Second)
		mb, err := rss(s.cmd.Process.Pid)
		if err := errors.Join(err, s.stop()); err != nil {
			return nil, err
		}
		sizes = append(sizes, mb)
	}
	m := median(sizes)
	return []row{{Name: "idle-rss", Unit: "MB", Ours: m, Goal: "< 150 MB RSS", Met: m < 150}}, nil
}

func rss(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// smallSpec is the package of warm-build; WORK makes its build longer. It has no debuginfo, which
// some hosts' rpmbuild makes by itself and others' doesn't: both sides have the same to do.
const smallSpec = `%global debug_package %{nil}
Name: small
Version: 1
Release: 1
Summary: small
License: MIT
%description
small
%prep
%setup -q -c -T
%build
echo 'int small(void){return 42;}' > small.c
gcc -g -O2 -shared -fPIC -Wl,-soname,libsmall.so.1 -o libsmall.so.1 small.c
WORK
%install
install -D -m755 libsmall.so.1 %{buildroot}/usr/lib64/libsmall.so.1
%files
/usr/lib64/libsmall.so.1
`

// seed makes Seed Linux, once, and returns the platform that has it and the configuration of
// a server whose parts of these names may reach it.
func (b *bench) seed(ctx context.Context, parts ...string) (platform, config string, err error) {
	seed := filepath.Join(b.dir, "seed")
	if _, err := os.Stat(seed); errors.Is(err, os.ErrNotExist) {
		cmd := exec.CommandContext(ctx, "go", "run", "./testdata/seed", "-out", seed+".new")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return "", "", fmt.Errorf("make Seed Linux: %w", err)
		}
		if err := os.Rename(seed+".new", seed); err != nil {
			return "", "", err
		}
	}
	config = filepath.Join(b.dir, "albs.yaml")
	var text strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&text, "%s: {egress: {allow: [\"file://%s\"]}}\n", p, seed)
	}
	if err := os.WriteFile(config, []byte(text.String()), 0o644); err != nil {
		return "", "", err
	}
	spec, err := os.ReadFile("configs/platforms/seed.yaml")
	if err != nil {
		return "", "", err
	}
	return strings.ReplaceAll(string(spec), "file:///var/lib/albs/seed/repo", "file://"+seed), config, nil
}

// warmBuild: from claim to admitted, beside rpmbuild --rebuild of the same SRPM on
// the host, in turns.
func warmBuild(ctx context.Context, b *bench) ([]row, error) {
	spec, config, err := b.seed(ctx, "master", "node", "tester")
	if err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, filepath.Join(b.dir, "build"), config)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	platform := filepath.Join(b.dir, "seed.yaml")
	if err := os.WriteFile(platform, []byte(spec), 0o644); err != nil {
		return nil, err
	}
	if _, err := s.cli(ctx, b, "platform", "apply", platform); err != nil {
		return nil, err
	}
	small, smallPeer, err := b.pairs(ctx, s, "small", "")
	if err != nil {
		return nil, err
	}
	// A build of some two seconds: forty compilations and a wait.
	long, longPeer, err := b.pairs(ctx, s, "long", "n=0; while [ $n -lt 40 ]; do gcc -O2 -fPIC -c -o x.o small.c; n=$((n+1)); done; sleep 1.5")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "bench: warm-build: small %.2f s, bare %.2f s, overhead %.2f s; long %.2f s, bare %.2f s, %.2f×\n",
		small, smallPeer, small-smallPeer, long, longPeer, long/longPeer)
	return []row{{
		Name: "warm-build", Unit: "s", Ours: small, Peer: smallPeer, PeerName: "rpmbuild --rebuild, host", Ratio: small / smallPeer,
		Goal: "overhead ≤ 0.7 s, and ≤ 1.5× for a build of 2 s or more", Met: small-smallPeer <= 0.7 && long <= 1.5*longPeer,
	}}, nil
}

// pairs builds a package by albs and by its peer in turns and returns the medians.
func (b *bench) pairs(ctx context.Context, s *server, name, work string) (albs, bare float64, err error) {
	srpm, err := b.srpm(ctx, name, work)
	if err != nil {
		return 0, 0, err
	}
	var ours, peers []float64
	var parts []map[string]float64
	for i := range runs + 1 {
		o, part, err := s.build(ctx, b, srpm)
		if err != nil {
			return 0, 0, err
		}
		p, err := b.rebuild(ctx, srpm)
		if err != nil {
			return 0, 0, err
		}
		if i > 0 { // the first fills the caches
			ours, peers, parts = append(ours, o), append(peers, p), append(parts, part)
		}
	}
	printPhases(name, parts, median(peers))
	return median(ours), median(peers), nil
}

// srpm makes the source package whose build also does work.
func (b *bench) srpm(ctx context.Context, name, work string) (string, error) {
	top := filepath.Join(b.dir, name)
	if err := os.MkdirAll(top, 0o755); err != nil {
		return "", err
	}
	spec := filepath.Join(top, "small.spec")
	if err := os.WriteFile(spec, []byte(strings.Replace(smallSpec, "WORK", work, 1)), 0o644); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, "rpmbuild", "-bs", "--define", "_topdir "+top, spec).CombinedOutput(); err != nil {
		return "", fmt.Errorf("rpmbuild -bs: %w: %s", err, out)
	}
	return filepath.Join(top, "SRPMS", "small-1-1.src.rpm"), nil
}

// rebuild runs the peer and returns its seconds.
func (b *bench) rebuild(ctx context.Context, srpm string) (float64, error) {
	top, err := os.MkdirTemp(b.dir, "rebuild-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(top)
	start := time.Now()
	out, err := exec.CommandContext(ctx, "rpmbuild", "--rebuild", "--nodeps", "--define", "_topdir "+top, srpm).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("rpmbuild --rebuild: %w: %s", err, out)
	}
	return time.Since(start).Seconds(), nil
}

// build has albs rebuild the SRPM and returns the seconds from claim to admitted, and
// those of each phase.
func (s *server) build(ctx context.Context, b *bench, srpm string) (float64, map[string]float64, error) {
	out, err := s.cli(ctx, b, "build", "create", "--platform", "seed", "--arch", "x86_64", "--srpm", srpm, "--wait", "--json")
	if err != nil {
		return 0, nil, err
	}
	var build struct {
		ID    int64 `json:"id"`
		Tasks []struct {
			ID       int64      `json:"id"`
			Kind     string     `json:"kind"`
			Started  *time.Time `json:"started_at"`
			Finished *time.Time `json:"finished_at"`
		} `json:"tasks"`
	}
	if err := json.Unmarshal(out, &build); err != nil {
		return 0, nil, err
	}
	for _, t := range build.Tasks {
		if t.Kind == "build" && t.Started != nil && t.Finished != nil {
			parts, err := s.phases(ctx, b, build.ID, t.ID, *t.Started, *t.Finished)
			return t.Finished.Sub(*t.Started).Seconds(), parts, err
		}
	}
	return 0, nil, fmt.Errorf("the build has no finished build task: %.500s", out)
}

func (s *server) cli(ctx context.Context, b *bench, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "albs"), args...)
	cmd.Env = append(os.Environ(), "ALBS_URL="+s.url, "ALBS_TOKEN="+s.token)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("albs %s: %w: %s", strings.Join(args[:min(len(args), 2)], " "), err, errs.String())
	}
	return out, nil
}
