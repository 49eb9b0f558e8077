package notices

import (
	"testing"
	"time"

	"albs/internal/master/notice"
	"albs/internal/master/ui/page/pagetest"
)

// TestTemplates executes the templates with all that they can show, hostile where it is
// foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const bad = pagetest.Bad
	now := time.Now()
	s := notice.Subscription{
		ID: 3, Team: "core", Channel: notice.Webhook, Target: bad, Note: bad, Actor: bad, Created: now, Waiting: 1, Sent: 2, Dead: 3,
		Filter: notice.Filter{Kinds: notice.Kinds(), Platforms: []string{bad}, Products: []string{bad}, Severity: "low"},
	}
	paused, stopped := s, s
	paused.Paused, paused.Failures = now.Add(time.Hour), 2
	stopped.Stopped, stopped.Team = bad, ""
	all := []notice.Delivery{
		{ID: 1, Subscription: 3, Message: "msg_x", Kind: notice.Released, Title: bad, State: notice.Dead, Attempts: 4, Reason: bad, Created: now, Ended: now},
		{ID: 2, Kind: notice.Failed, State: notice.Waiting, Next: now}, {ID: 3, State: notice.Sent},
	}
	pagetest.Execute(t, Group(), map[string][]any{
		"notices": {listView{}, listView{[]notice.Subscription{s, paused, stopped}, []string{"", "core"}, severities}},
		"made":    {madeView{}, madeView{s, "whsec_x"}},
		"notice":  {showView{}, showView{s, all, severities, "/n", "/f"}, showView{Subscription: paused}, showView{Subscription: stopped, Severities: severities}},
	})
}
