package transparency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/release"
	"albs/internal/tlog"
)

// State is what is known of the logs and of what is on its way.
type State struct {
	Logs []Log `json:"logs" doc:"The last is the one that is appended to"`
	// How many released packages are at each step.
	Waiting int `json:"waiting" doc:"Released packages whose statements are on their way to the ledger"`
	Entered int `json:"entered" doc:"Those that are to be entered into the log, or are and no checkpoint tells of them yet"`
	Proven  int `json:"proven" doc:"Those whose proof is to be laid beside them"`
	Laid    int `json:"laid" doc:"Those that have their statements and proofs beside them"`
	// Withdrawals are entered too; nothing is laid of them.
	Withdrawing int    `json:"withdrawing" doc:"Withdrawn packages that no checkpoint tells of yet"`
	Withdrawn   int    `json:"withdrawn" doc:"Those that the log tells of"`
	Trouble     string `json:"trouble,omitempty" doc:"What stands in the way"`
	// Witnesses are asked to cosign, and Quorum of them have to.
	Witnesses int `json:"witnesses"`
	Quorum    int `json:"quorum"`
}

// Log is one public log.
type Log struct {
	ID         int64   `json:"id" doc:"Its folder below /transparency/"`
	Origin     string  `json:"origin"`
	VKey       string  `json:"vkey"`
	Size       int64   `json:"size" doc:"Leaves of the last checkpoint"`
	Checkpoint string  `json:"checkpoint,omitempty"`
	Begun      db.Time `json:"begun"`
}

// State returns what is known of the logs. Anyone may ask.
func (t *Transparency) State(ctx context.Context) (State, error) {
	s := State{Logs: []Log{}, Witnesses: len(t.config.Witnesses), Quorum: t.config.Quorum}
	logs, err := t.store.logs(ctx, t.DB)
	if err != nil {
		return s, err
	}
	for _, l := range logs {
		s.Logs = append(s.Logs, Log{l.ID, l.Origin, l.VKey, l.Size, l.Checkpoint, l.BegunAt})
	}
	n, gone, err := t.store.counts(ctx, t.DB)
	if err != nil {
		return s, err
	}
	s.Withdrawing, s.Withdrawn = gone[waits]+gone[stated]+gone[logged], gone[laid]
	s.Waiting, s.Entered, s.Proven, s.Laid = n[waits], n[stated]+n[logged], n[proven]+n[asked], n[laid]
	if err := t.Healthy(); err != nil {
		s.Trouble = albs.UserMessage(err)
	}
	return s, nil
}

// Report is what a check of the logs against the releases found.
type Report struct {
	Leaves    int `json:"leaves" doc:"Leaves of all logs"`
	Packages  int `json:"packages" doc:"Packages that were ever released, each repository counted"`
	Withdrawn int `json:"withdrawn" doc:"Packages that were ever withdrawn, each repository and time counted"`
	Pending   int `json:"pending" doc:"Those of them that are on their way into the log"`
	// Faults are what isn't as it should be, at most 100 of them; Found is how many there
	// are.
	Faults []string `json:"faults"`
	Found  int      `json:"found"`
}

const maxFaults = 100

func (r *Report) fault(format string, args ...any) {
	if r.Found++; len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// Check walks all logs and all releases and proves that they tell the same: each log fits
// together and has what was published of it, each released and each withdrawn package has a
// leaf, and each leaf is of one that was released or withdrawn as it says. Forbidden without
// store.collect, for it reads much.
func (t *Transparency) Check(ctx context.Context) (Report, error) {
	if err := auth.Can(ctx, auth.StoreCollect, auth.Object{}); err != nil {
		return Report{}, err
	}
	return t.check(ctx)
}

// entry is a package in a repository of a product, of which a leaf has to tell.
type entry struct {
	where string // PRODUCT/PATH
	file  albs.Digest
	by    albs.ReleaseID // that withdrew it; 0 stands for its release there
}

// strange says that the log tells of e and shouldn't.
func (e entry) strange() string {
	if e.by != 0 {
		return fmt.Sprintf("the log has a withdrawal of %s from %s by release %d, and it never was", e.file, e.where, e.by)
	}
	return fmt.Sprintf("the log has %s in %s, which was never released there", e.file, e.where)
}

// lack is what no leaf tells of.
type lack struct {
	release.Added
	withdrawn bool
}

func (t *Transparency) check(ctx context.Context) (Report, error) {
	r := Report{Faults: []string{}}
	began := db.Now()
	// What is in the logs by now was released by now; what is released later may not be in
	// what was walked.
	leaves, walked, err := t.walkLogs(ctx, &r)
	if err != nil {
		return r, err
	}
	var missing []lack
	look := func(e entry, l lack) error {
		if leaves[e] {
			delete(leaves, e)
		} else {
			missing = append(missing, l)
		}
		return nil
	}
	err = t.Releases.EachAdded(ctx, func(a release.Added) error {
		r.Packages++
		return look(entry{where: a.Product + "/" + a.Path, file: a.Digest}, lack{a, false})
	})
	if err != nil {
		return r, err
	}
	err = t.Releases.EachWithdrawn(ctx, func(w release.Withdrawn) error {
		r.Withdrawn++
		return look(entry{w.Product + "/" + w.Path, w.Digest, w.Release}, lack{w, true})
	})
	if err != nil {
		return r, err
	}
	if err := t.missing(ctx, &r, missing, walked, began); err != nil {
		return r, err
	}
	var strange []string
	for e := range leaves {
		strange = append(strange, e.strange())
	}
	slices.Sort(strange)
	for _, s := range strange {
		r.fault("%s", s)
	}
	t.metrics.faults.Set(float64(r.Found))
	if r.Found > 0 {
		err = albs.Errorf(albs.Conflict, "the public log and the releases don't tell the same: %s", r.Faults[0])
	}
	t.trouble("check", err)
	return r, nil
}

// missing tells those that are on their way from those that should be in what was walked.
// One that nobody has taken in, since an event was lost or isn't there yet, is now.
func (t *Transparency) missing(ctx context.Context, r *Report, missing []lack, walked map[int64]uint64, began db.Time) error {
	if len(missing) == 0 {
		return nil
	}
	type key struct {
		release   albs.ReleaseID
		digest    albs.Digest
		withdrawn bool
	}
	rows, err := t.store.standing(ctx, t.DB)
	if err != nil {
		return err
	}
	known := make(map[key]leafRow, len(rows))
	for _, row := range rows {
		known[key{row.Release, row.Package, row.Withdrawn}] = row
	}
	var added []release.Added
	var withdrawn []release.Withdrawn
	for _, l := range missing {
		row, ok := known[key{l.Release, l.Digest, l.withdrawn}]
		switch {
		case !ok && l.withdrawn:
			withdrawn = append(withdrawn, l.Added)
			r.Pending++
		case !ok:
			added = append(added, l.Added)
			r.Pending++
		case row.Step < proven, uint64(*row.Place) >= walked[*row.Log]:
			r.Pending++
		case l.withdrawn:
			r.fault("%s in %s/%s, %s, was withdrawn by release %d and the log doesn't tell of it where it should", l.File, l.Product, l.Path, l.Digest, l.Release)
		default:
			r.fault("%s in %s/%s, %s, was released and isn't in the log where it should be", l.File, l.Product, l.Path, l.Digest)
		}
	}
	return t.take(ctx, added, withdrawn, began)
}

// walkLogs checks each log by itself and returns what their leaves tell of, and how many
// each has.
func (t *Transparency) walkLogs(ctx context.Context, r *Report) (out map[entry]bool, walked map[int64]uint64, err error) {
	out, walked = map[entry]bool{}, map[int64]uint64{}
	logs, err := t.store.logs(ctx, t.DB)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range logs {
		dir, _ := t.folder(l.ID)
		files := tlog.Read(dir)
		now, err := files.Checkpoint(l.VKey)
		if errors.Is(err, albs.NotFound) && l.Size == 0 {
			continue // it has just begun
		}
		if err == nil {
			err = files.Continues(ctx, l.published(), now)
		}
		if err == nil {
			err = files.Check(ctx, l.VKey)
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			r.fault("the log %s: %v", l.Origin, err)
			continue
		}
		walked[l.ID] = now.Size
		err = files.Entries(ctx, 0, now.Size, func(i uint64, b []byte) error {
			r.Leaves++
			told, err := entriesOf(b)
			if err != nil {
				r.fault("leaf %d of the log %s: %v", i, l.Origin, err)
			}
			for _, e := range told {
				out[e] = true
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return out, walked, nil
}

// entriesOf returns what a leaf tells of.
func entriesOf(b []byte) (out []entry, err error) {
	if tlog.IsWithdrawal(b) {
		w, err := tlog.ParseWithdrawal(b)
		for _, where := range w.Repositories {
			out = append(out, entry{where, w.File, w.Release})
		}
		return out, err
	}
	l, err := tlog.ParseLeaf(b)
	for _, where := range l.Repositories {
		out = append(out, entry{where: where, file: l.File})
	}
	return out, err
}

// Open returns the name on disk of a public file of the logs, by its name below
// /transparency/: N/checkpoint, N/log.vkey, N/tile/…. fixed says that it never changes.
// NotFound for every other name. Anyone may ask.
func (t *Transparency) Open(ctx context.Context, name string) (file string, fixed bool, err error) {
	id, rest, _ := strings.Cut(name, "/")
	public, fixed := tlog.Public(rest)
	if public {
		logs, err := t.store.logs(ctx, t.DB)
		if err != nil {
			return "", false, err
		}
		for _, l := range logs {
			if dir, _ := t.folder(l.ID); fmt.Sprint(l.ID) == id {
				return dir + "/" + rest, fixed, nil
			}
		}
	}
	return "", false, albs.Errorf(albs.NotFound, "no public log has a file %.200q", name)
}

// metrics are what operators watch.
type metrics struct{ faults prometheus.Gauge }

func newMetrics() metrics {
	return metrics{faults: prometheus.NewGauge(prometheus.GaugeOpts{Name: "albs_transparency_faults", Help: "In how much the public log and the releases differ, as the last check found; 0 before the first."})}
}

// Metrics are the module's, to be registered once.
func (t *Transparency) Metrics() []prometheus.Collector {
	return []prometheus.Collector{t.metrics.faults, prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "albs_transparency_well", Help: "1 while released packages reach the public log and their place, 0 while something stands in the way."},
		func() float64 {
			if t.Healthy() != nil {
				return 0
			}
			return 1
		})}
}
