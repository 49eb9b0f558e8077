// Package notice tells people and programs outside what happened: that a release or an
// advisory is public, that a build has ended, that what is public isn't what it should be.
//
// It owns subscriptions, each of one webhook or one mail address, and the deliveries to
// them, which are its outbox: rows that are written when the log of events is followed,
// once for each subscription and cause, and that are sent until the receiver has taken
// them or a day is over. A delivery bears the same id each time that it is sent, so a
// receiver that gets it twice, after a crash here, can tell.
//
// A subscription is a lane: one master has it at a time, and sends what waits in it one
// after another. A receiver that is away makes its own lane pause, ever longer, and no
// other. What is sent is public already; who may look at subscriptions is bounded because
// addresses aren't. Webhooks go out through egress, mail to the one server of the
// configuration.
package notice

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
)

// Kind is what a notice tells.
type Kind string

// The kinds of notice, most of which are called as the event that has them told.
const (
	Released       Kind = "errata.released"   // an advisory is public, for the first time or changed
	Withdrawn      Kind = "errata.withdrawn"  // an advisory is public as one that was taken back
	Trouble        Kind = "errata.trouble"    // what is public isn't what should be
	Sound          Kind = "errata.sound"      // it is again
	Published      Kind = "release.published" // a product shows a release
	Failed         Kind = "release.failed"
	Reverted       Kind = "release.reverted" // a rollback took a release back
	BuildSucceeded Kind = "build.succeeded"
	BuildFailed    Kind = "build.failed"
	BuildCancelled Kind = "build.cancelled"
)

// test is the kind of what Test sends; nobody subscribes to it.
const test Kind = "notice.test"

// Kinds are all kinds to which one may subscribe.
func Kinds() []Kind {
	return []Kind{Released, Withdrawn, Trouble, Sound, Published, Failed, Reverted, BuildSucceeded, BuildFailed, BuildCancelled}
}

// Notice is what is told. As JSON it is the body of a webhook, in the shape that the
// specification Standard Webhooks recommends.
type Notice struct {
	Kind Kind      `json:"type"`
	At   time.Time `json:"timestamp"` // when it happened
	Data Data      `json:"data"`
}

// Data is what is known of what happened. What doesn't apply is left out.
type Data struct {
	Title     string         `json:"title"` // one line for people
	Reason    string         `json:"reason,omitempty"`
	URL       string         `json:"url,omitempty"` // of a page about it
	Product   string         `json:"product,omitempty"`
	Platforms []string       `json:"platforms,omitempty"` // none is all, or unknown
	Release   albs.ReleaseID `json:"release,omitempty"`
	Serial    int64          `json:"serial,omitempty"` // that the product shows
	Build     albs.BuildID   `json:"build,omitempty"`
	Packages  []string       `json:"packages,omitempty"` // of a build, by name
	Advisory  *Advisory      `json:"advisory,omitempty"`
	Troubles  []string       `json:"troubles,omitempty"` // the first of them
}

// Advisory is one that a release published.
type Advisory struct {
	ID        string    `json:"id"`
	Platform  string    `json:"platform"`
	Version   int       `json:"version"`
	Type      string    `json:"type"`
	Severity  string    `json:"severity"` // critical, important, moderate, low or none
	Title     string    `json:"title"`
	CVEs      []string  `json:"cves"`
	Issued    time.Time `json:"issued"`
	Updated   time.Time `json:"updated"`
	Withdrawn bool      `json:"withdrawn"`
	URL       string    `json:"url,omitempty"` // of its public page
}

// Build is where a build stands.
type Build struct {
	Product   string
	Platforms []string
	Packages  []string
	State     string // succeeded, failed or cancelled, once it has ended
	Reason    string
	Finished  time.Time // zero until then
}

// Facts tell what events don't.
type Facts interface {
	// Advisories calls yield for each advisory that a release published, in the version in
	// which it did, and ends with yield's first error.
	Advisories(ctx context.Context, release albs.ReleaseID, yield func(Advisory) error) error
	// Build tells where a build stands; NotFound if there is none.
	Build(ctx context.Context, id albs.BuildID) (Build, error)
}

// Outside is the way to webhooks; egress.Egress is it.
type Outside interface {
	CheckURL(rawURL string) error
	Client() *http.Client
}

// Config holds what an operator may set.
type Config struct {
	// Mail is the server through which mail goes out; without one there is none.
	Mail Mail `yaml:"mail"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c Config) Check() error { return c.Mail.Check() }

// Parts are what notices rest on. All are required.
type Parts struct {
	DB      *db.DB
	Events  *event.Log
	Auth    *auth.Auth
	Facts   Facts
	Outside Outside
	Key     Key    // from which those of webhooks are made
	URL     string // of the master's pages
	Log     zerolog.Logger
}

// Notices keeps subscriptions and sends what they ask for. It may be used concurrently.
type Notices struct {
	Parts
	mail   Mail
	client *http.Client
	now    func() time.Time
	jitter func() float64 // 0 to 1
}

// Topic is where changes of subscriptions and deliveries are told.
const Topic = "notices"

// FollowName is under what name the log of events is followed.
const FollowName = "notices"

// wantsBuilds reports whether one of the kinds is of builds.
func wantsBuilds(kinds []Kind) bool {
	return slices.ContainsFunc(kinds, func(k Kind) bool {
		return k == BuildSucceeded || k == BuildFailed || k == BuildCancelled
	})
}
