// Package bill makes the bills of materials of what the master has: of each package of a
// build and the build when its work has ended, and of each package that a release made
// public and the release when it is shown.
//
// It follows the events of both and looks at the tables, so that no build waits for a
// bill. What a bill tells was read from the packages' own headers and is known of the
// build; what they need is looked for among what lies beside and beneath them. The bill
// itself is kept as JSON, and with it the formats that are attested (Attested), which the
// master states of the package, or of the documents of a build or release. The other
// formats are written when somebody asks.
//
// The same facts make the same bytes (package sbom), and a bill that says nothing new is
// neither kept nor stated again. It is kept as long as what it is of: that of a build, and
// of its packages, until the build is deleted, that of a release until its serial is
// beyond the product's retention, and those of released packages for good, as these are.
package bill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/repo"
	"albs/internal/sbom"
)

// Attested are the formats that are kept and stated.
var Attested = []sbom.Format{sbom.CycloneDXJSON, sbom.SPDXJSON}

// Config says who gives the bills.
type Config struct {
	// Supplier is the name of the organization that gives the packages; "" leaves it to
	// the vendor that their headers name.
	Supplier string `yaml:"supplier"`
	// URL is the supplier's, and Email whom to ask about a bill.
	URL   string `yaml:"url"`
	Email string `yaml:"email"`
	// Namespace is the URL below which SPDX documents have their names; the master's own,
	// with /sbom, if empty.
	Namespace string `yaml:"namespace"`
}

// maxWords bounds each word of the configuration.
const maxWords = 500

// Check returns what is wrong with the configuration, as Invalid.
func (c Config) Check() error {
	for key, s := range map[string]string{"supplier": c.Supplier, "url": c.URL, "email": c.Email, "namespace": c.Namespace} {
		if len(s) > maxWords || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
			return albs.Errorf(albs.Invalid, "%s is longer than %d bytes, or of several lines", key, maxWords)
		}
	}
	for key, s := range map[string]string{"url": c.URL, "namespace": c.Namespace} {
		if s != "" && !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
			return albs.Errorf(albs.Invalid, "%s %.200q is no URL: write https://…", key, s)
		}
	}
	if c.Email != "" && !strings.Contains(c.Email, "@") {
		return albs.Errorf(albs.Invalid, "email %.200q is no address", c.Email)
	}
	if c.Supplier == "" && (c.URL != "" || c.Email != "") {
		return albs.Errorf(albs.Invalid, "supplier has to be named with url and email")
	}
	return nil
}

// Builds are those that bills are made of; build.Builds is it.
type Builds interface {
	Get(ctx context.Context, id albs.BuildID) (build.Build, error)
	There(ctx context.Context, from db.Q, id albs.BuildID) error
	Packages(ctx context.Context, id albs.BuildID) ([]build.Artifact, error)
	Made(ctx context.Context, ds []albs.Digest) (map[albs.Digest]albs.BuildID, error)
}

// Releases likewise; release.Releases is it.
type Releases interface {
	Get(ctx context.Context, id albs.ReleaseID) (release.Release, error)
}

// Parts are the modules that bills rest on. All are required.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	References *reference.Index
	Products   *product.Products
	Repos      *repo.Repos
	Builds     Builds
	Releases   Releases
	URL        string // of the master's pages
	Version    string // of the program
	Log        zerolog.Logger
}

// Bills makes bills and gives them. It may be used concurrently.
type Bills struct {
	Parts
	config Config
	store  store
	// slots are who may write a format on request at once, and rendered whose is there.
	slots, rendered *semaphore.Weighted
	// waiting are tasks of builds that weren't done when they were looked at: until then
	// the build's others needn't be looked at, of which it may have tens of thousands. It is
	// the follower's own, and of one time of following: what another master saw end in
	// between would be waited for in vain.
	waiting map[albs.BuildID]albs.TaskID
	// following is the context of that time.
	following context.Context
	// patience is how long a package's record may take to reach the ledger.
	patience time.Duration
}

// New returns the bills of a master.
func New(p Parts, c Config) *Bills {
	if c.Namespace == "" {
		c.Namespace = p.URL + "/sbom"
	}
	c.Namespace = strings.TrimRight(c.Namespace, "/")
	b := &Bills{Parts: p, config: c, store: store{p.DB}, slots: semaphore.NewWeighted(maxRendering), rendered: semaphore.NewWeighted(maxRendered), waiting: map[albs.BuildID]albs.TaskID{}, patience: 30 * time.Second}
	p.Artifacts.Root("bill", b.roots)
	return b
}

// Run makes the bills of what has ended, until ctx is done, whose error it returns.
func (b *Bills) Run(ctx context.Context) error {
	return b.Events.Follow(auth.System(ctx, "write bills of materials"), "bill", b.follow)
}

// follow makes what an event gives cause to. What a part that is away, or a full storage,
// hinders is tried again; all else is told of and left, so that one package that can't be
// read doesn't keep all later ones from their bills.
func (b *Bills) follow(ctx context.Context, e event.Event) error {
	if ctx != b.following {
		b.following = ctx
		clear(b.waiting)
	}
	err := b.after(ctx, e)
	if err == nil || ctx.Err() != nil {
		return err
	}
	told := b.Log.Warn()
	switch albs.KindOf(err) {
	case albs.Unavailable, albs.NoSpace:
		return err
	case albs.NotFound, albs.Conflict, albs.Invalid, albs.TooLarge:
		// Deleted meanwhile, beyond retention, not proven, or beyond bounds.
	default:
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return err
		}
		told = b.Log.Error()
	}
	told.Err(err).Str("topic", e.Topic).Msg("no bill of materials was made")
	return nil
}

func (b *Bills) after(ctx context.Context, e event.Event) error {
	if e.Kind == release.EventPublished {
		var told release.Event
		if err := json.Unmarshal(e.Data, &told); err != nil {
			return albs.Errorf(albs.Invalid, "read event %d: %w", e.ID, err)
		}
		return b.released(ctx, told.Release)
	}
	if of, ok := strings.CutPrefix(e.Topic, "build:"); ok && ended(e.Kind) {
		id, err := strconv.ParseInt(of, 10, 64)
		if err != nil {
			return albs.Errorf(albs.Invalid, "read event %d: %w", e.ID, err)
		}
		return b.task(ctx, albs.BuildID(id), e)
	}
	return nil
}

// task takes in that a task of a build's has ended.
func (b *Bills) task(ctx context.Context, id albs.BuildID, e event.Event) error {
	var told struct {
		Task albs.TaskID   `json:"task"`
		Kind albs.TaskKind `json:"kind"`
	}
	if err := json.Unmarshal(e.Data, &told); err != nil {
		return albs.Errorf(albs.Invalid, "read event %d: %w", e.ID, err)
	}
	if !slices.Contains(kinds, told.Kind) || b.waiting[id] != 0 && b.waiting[id] != told.Task {
		return nil
	}
	open, err := b.working(ctx, id)
	if err != nil {
		return err
	}
	if open == 0 {
		delete(b.waiting, id)
		return b.built(ctx, id)
	}
	if len(b.waiting) >= maxWaiting {
		clear(b.waiting)
	}
	b.waiting[id] = open
	return nil
}

// kinds are the tasks that make packages; tests have the same topic and are another story.
var kinds = []albs.TaskKind{albs.KindBuild, albs.KindSource, albs.KindImport, albs.KindGraph}

// maxWaiting is how many builds are remembered that go on.
const maxWaiting = 10_000

// ended reports whether an event of that kind may be the last of a build's work.
func ended(kind string) bool {
	state, ok := strings.CutPrefix(kind, "task.")
	return ok && albs.TaskState(state).Final()
}

// made is a bill that was found out, with what is to be kept and stated of it.
type made struct {
	bill    sbom.Bill
	subject string
	name    string
	facts   albs.Digest
	about   *artifact.Artifact // the package; nil of builds and releases
	build   albs.BuildID
	release release.Release // zero of builds
}

// words returns a bill with what is said in every one.
func (b *Bills) words(k sbom.Kind) sbom.Bill {
	return sbom.Bill{
		Kind: k, Supplier: sbom.Party{Name: b.config.Supplier, URL: b.config.URL, Email: b.config.Email},
		Base: b.config.Namespace, Tool: b.Version,
	}
}

// working returns a task of a build's own that is still to end, 0 if there is none. Those
// blocked while nothing else is to be done wait in vain.
func (b *Bills) working(ctx context.Context, id albs.BuildID) (albs.TaskID, error) {
	for _, k := range kinds {
		open, err := b.Queue.List(ctx, queue.Filter{
			Kind: k, Topic: build.Topic(id), Limit: 1,
			States: []albs.TaskState{albs.TaskQueued, albs.TaskLeased, albs.TaskStopping},
		})
		if err != nil {
			return 0, fmt.Errorf("tasks of build %d: %w", id, err)
		}
		if len(open) > 0 {
			return open[0].ID, nil
		}
	}
	return 0, nil
}
