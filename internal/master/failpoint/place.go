// Package failpoint has the places at which a test has the master die: between two
// steps that are each durable alone. In a program that is built without the tag
// failpoint, which is every one but that of such a test, they are nothing.
package failpoint

// The places, in the order in which a result meets them.
const (
	Committed    = "committed"     // a result is in the database, and nobody was woken for it
	Unanswered   = "unanswered"    // and its worker doesn't know
	BeforeLedger = "before-ledger" // statements were read for the ledger
	AfterLedger  = "after-ledger"  // they are in the ledger, and the database doesn't know
	Noted        = "noted"         // it does, and nothing was done since
	Followed     = "followed"      // events were acted on, and the follower's place isn't kept
)

// Told is one that a result doesn't meet: a notice was sent, and that isn't written down.
const Told = "told"

// Places are all that a result meets.
var Places = []string{Committed, Unanswered, BeforeLedger, AfterLedger, Noted, Followed}
