package e2etest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/client"
	"albs/internal/master/failpoint"
)

// TestMasterDiesTelling: the master dies between a notice that its receiver has taken and
// its own word of that. When it is back it sends the notice once more, as it was and under
// the id that it had, and never again.
func TestMasterDiesTelling(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var came []string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return // it broke off
		}
		mu.Lock()
		defer mu.Unlock()
		came = append(came, fmt.Sprintf("%s %s", r.Header.Get("webhook-id"), b))
	}))
	t.Cleanup(hook.Close)
	s := newSite(t)
	armed := filepath.Join(s.dir, "failpoint")
	s.master, s.env = crashing(t), []string{"ALBS_FAILPOINT=" + armed}
	allowed := yes{"master": yes{"egress": yes{"allow": []string{hook.URL}}}}
	s.serve("master", ordinary(t), []string{"master"}, allowed)
	s.people()
	made := ask[client.Subscription](s, s.admin, "notice", "add", "--webhook-file", s.file("url", hook.URL+"/hook"), "--on", "build.failed")
	s.secrets = append(s.secrets, made.Key)

	s.file("failpoint", failpoint.Told)
	master := s.proc("master")
	id := fmt.Sprint(made.ID)
	s.run(s.admin, "notice", "test", id)
	s.until(time.Minute, "the master dies", func() bool { return !master.running() })
	if err := os.Remove(armed); err != nil {
		t.Fatal(err)
	}
	s.serve("master", ordinary(t), []string{"master"}, allowed)
	stands := func(state string) bool {
		ds := ask[[]client.Delivery](s, s.admin, "notice", "deliveries", id)
		return len(ds) == 1 && ds[0].State == state
	}
	s.until(time.Minute, "the notice is sent again", func() bool { return stands("sent") })
	mu.Lock()
	if len(came) != 2 || came[0] != came[1] || !strings.HasPrefix(came[0], "msg_") {
		t.Errorf("there came %q, want one message twice", came)
	}
	mu.Unlock()
	// Once that is written down, another start sends nothing.
	s.stop()
	s.serve("master", ordinary(t), []string{"master"}, allowed)
	s.run(s.admin, "notice", "test", id)
	s.until(time.Minute, "the next is sent", func() bool {
		ds := ask[[]client.Delivery](s, s.admin, "notice", "deliveries", id)
		return len(ds) == 2 && ds[0].State == "sent"
	})
	mu.Lock()
	defer mu.Unlock()
	if len(came) != 3 || came[2] == came[0] {
		t.Errorf("there came %q, want another one after the two", came)
	}
}
