package builds

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/queue"
	"albs/internal/master/ui/logs"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// block is how many lines the log page has, and how many the viewer asks for at
// once.
const block = 200

// logView is a log's page: lines of it for who has no JavaScript, and where the
// viewer finds the rest.
type logView struct {
	Build    albs.BuildID
	Task     queue.Task
	Label    string
	Attempt  attempt
	Stream   string
	Extent   logs.Extent
	Lines    []logs.Line
	Base     string // address of this log without its parameters
	Raw      string
	Others   []queue.LogInfo // all logs of the task
	Ended    bool            // it grows no more
	From, To int             // lines shown
	Prev     int             // first line of the page before; 0 if there is none
	Next     int             // and of the one behind
	Block    int
}

// State is how the attempt stands, for lookOf.
func (v logView) State() string { return v.Attempt.State() }

// URL is the address of a page that begins with a line; 0 is the end.
func (v logView) URL(from int) string {
	s := fmt.Sprintf("%s?attempt=%d", v.Base, v.Attempt.Number)
	if from > 0 {
		s += "&from=" + strconv.Itoa(from)
	}
	return s
}

// logOf finds the log that a request names: of the newest attempt if it names
// none.
func (u *Pages) logOf(r *http.Request) (logView, logs.Ref, error) {
	id, t, err := u.taskOf(r)
	if err != nil {
		return logView{}, logs.Ref{}, err
	}
	as, err := u.Queue.Attempts(r.Context(), t.ID)
	if err != nil {
		return logView{}, logs.Ref{}, err
	}
	v := logView{Build: id, Task: t, Stream: chi.URLParam(r, "stream"), Block: block}
	name := words.Inert(words.Cut(v.Stream, 40))
	if len(as) == 0 {
		return v, logs.Ref{}, albs.Errorf(albs.NotFound, "task %d has not been begun, so there is no log %s", t.ID, name)
	}
	i := len(as) - 1
	if s := r.URL.Query().Get("attempt"); s != "" {
		i = slices.IndexFunc(as, func(a queue.Attempt) bool { return strconv.Itoa(a.Number) == s })
		if i < 0 {
			return v, logs.Ref{}, albs.Errorf(albs.NotFound, "task %d has no attempt %s", t.ID, words.Inert(words.Cut(s, 20)))
		}
	}
	v.Attempt = attempt{Attempt: as[i]}
	v.Ended = !v.Attempt.Ended.IsZero()
	v.Base = fmt.Sprintf("/build/%d/task/%d/log/%s", id, t.ID, v.Stream)
	v.Raw = fmt.Sprintf("/api/v1/builds/%d/tasks/%d/logs/%s?attempt=%d", id, t.ID, v.Stream, v.Attempt.Number)
	ref := logs.Ref{Task: t.ID, Attempt: v.Attempt.Number, Stream: v.Stream}
	v.Extent, err = u.logs.Extent(r.Context(), ref)
	switch {
	case errors.Is(err, albs.NotFound) && !v.Ended:
		err = nil // it may begin yet
	case errors.Is(err, albs.Invalid): // no log has such a name
		err = albs.Errorf(albs.NotFound, "task %d has no log %s", t.ID, name)
	}
	return v, ref, err
}

// logPage shows the end of a log, or the lines from ?from= on.
func (u *Pages) logPage(w http.ResponseWriter, r *http.Request) error {
	v, ref, err := u.logOf(r)
	if err != nil {
		return err
	}
	v.From = max(v.Extent.Lines-block+1, 1)
	if s := r.URL.Query().Get("from"); s != "" {
		if v.From, err = lineNumber(s); err != nil {
			return err
		}
	}
	if v.Extent.Lines > 0 {
		if v.Lines, v.Extent, err = u.logs.Lines(r.Context(), ref, v.From, block); err != nil {
			return err
		}
	}
	v.To = v.From + len(v.Lines) - 1
	if v.From > 1 {
		v.Prev = max(v.From-block, 1)
	}
	if v.To < v.Extent.Lines && len(v.Lines) > 0 {
		v.Next = v.To + 1
	}
	if v.Others, err = u.Queue.Logs(r.Context(), v.Task.ID); err != nil {
		return err
	}
	if v.Label, err = u.labelOf(r, v.Build, v.Task); err != nil {
		return err
	}
	p := page.Page{Title: fmt.Sprintf("%s log of task %d, build %d", v.Stream, v.Task.ID, v.Build), Section: "builds", Body: v}
	return u.Render(w, r, http.StatusOK, "builds/log", p)
}

func (u *Pages) labelOf(r *http.Request, id albs.BuildID, t queue.Task) (string, error) {
	f, err := u.factsOf(r.Context(), id)
	if err != nil {
		return "", err
	}
	v := taskView{Task: t}
	v.locate(f)
	return v.Label, nil
}

func lineNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, albs.Errorf(albs.Invalid, "%s is no line's number", words.Inert(words.Cut(s, 20)))
	}
	return n, nil
}

type linesAnswer struct {
	logs.Extent
	From int         `json:"from"`
	Text []logs.Line `json:"text"`
}

// logLines answers with lines as JSON, for the viewer: at most block of them.
func (u *Pages) logLines(w http.ResponseWriter, r *http.Request) error {
	_, ref, err := u.logOf(r)
	if err != nil {
		return err
	}
	from, err := lineNumber(r.URL.Query().Get("from"))
	if err != nil {
		return err
	}
	a := linesAnswer{From: from}
	a.Text, a.Extent, err = u.logs.Lines(r.Context(), ref, from, block)
	if err != nil {
		return err
	}
	return writeJSON(w, a)
}

const maxNeedle = 200

type findAnswer struct {
	Line int `json:"line"` // 0: there is none
}

// logFind answers with the first line behind ?after= that has ?q=.
func (u *Pages) logFind(w http.ResponseWriter, r *http.Request) error {
	_, ref, err := u.logOf(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	needle := q.Get("q")
	if needle == "" || len(needle) > maxNeedle || strings.Contains(needle, "\n") {
		return albs.Errorf(albs.Invalid, "look for 1 to %d bytes within a line", maxNeedle)
	}
	after := 0
	if s := q.Get("after"); s != "" && s != "0" {
		if after, err = lineNumber(s); err != nil {
			return err
		}
	}
	var a findAnswer
	if a.Line, err = u.logs.Find(r.Context(), ref, needle, after); err != nil {
		return err
	}
	return writeJSON(w, a)
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // an error says that the client is gone
	return nil
}

type grownMessage struct {
	logs.Extent
	Ended bool `json:"ended"` // it grows no more
}

// tail answers with a stream that tells how far the log has come whenever it grows:
// messages "grown", and "end" when it grows no more. The viewer asks for the lines
// that it shows. Each message is the whole of what there is to know, so that none
// has to be sent again to a browser that was away.
func (u *Pages) tail(w http.ResponseWriter, r *http.Request) error {
	v, ref, err := u.logOf(r)
	if err != nil {
		return err
	}
	grown, stop := u.Events.Wake(queue.LogTopic(v.Task.ID))
	defer stop()
	moved, stop := u.Events.Wake(build.Topic(v.Build))
	defer stop()
	s, err := u.OpenStream(w, r)
	if s == nil {
		return err
	}
	defer s.Close()
	told := logs.Extent{Lines: -1}
	for {
		// Whether it is over is asked first: what is read then is all there is.
		ended := v.Ended
		if !ended {
			as, err := u.Queue.Attempts(r.Context(), v.Task.ID)
			if err != nil {
				return nil // the browser connects again
			}
			ended = slices.ContainsFunc(as, func(a queue.Attempt) bool { return a.Number == ref.Attempt && !a.Ended.IsZero() })
		}
		e, err := u.logs.Extent(r.Context(), ref)
		if err != nil && !errors.Is(err, albs.NotFound) {
			return nil
		}
		if e != told || ended {
			kind := map[bool]string{false: "grown", true: "end"}[ended]
			b, err := json.Marshal(grownMessage{e, ended})
			if err != nil || s.Send(e.Size, kind, b) != nil {
				return nil
			}
			told = e
		}
		if ended || !s.Wait(page.RestTime, grown, moved) {
			return nil
		}
	}
}
