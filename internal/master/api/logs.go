package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/build"
	"albs/internal/master/face"
	"albs/internal/master/queue"
)

const (
	logChunk = 64 << 10 // bytes of a log in one message
	logsPath = "/api/v1/builds/{build_id}/tasks/{task_id}/logs/"
)

type logView struct {
	Attempt int    `json:"attempt"`
	Stream  string `json:"stream"`
	Size    int64  `json:"size"`
	Final   bool   `json:"final" doc:"The attempt has ended, so the log grows no more"`
	Href    string `json:"href"`
}

func (s *Server) routeLogs() {
	rest.Handle(s.Server, rest.Operation(get, logsPath, "List the logs of a task, of all its attempts"), s.listLogs)

	attempt := rest.QueryParam("attempt", huma.TypeInteger, "The attempt; the newest if it is not given")
	op := rest.Operation(get, logsPath+"{stream}", "Read a log as text, also while it grows; ranges are served")
	op.Parameters = append(rest.PathParams(op.Path), attempt)
	op.Responses = rest.Answers(http.StatusOK, "The log as it is now", "text/plain")
	op.Responses["206"] = &huma.Response{Description: "A range of it", Content: map[string]*huma.MediaType{"text/plain": {}}}
	s.Raw(op, s.readLog)

	op = rest.Operation(get, logsPath+"{stream}/events", "Follow a log, as server-sent events")
	op.Description = "Each message \"log\" has the text as JSON, and as its id the offset behind it in bytes, from which Last-Event-ID or ?offset= resumes. " +
		"A message \"end\" says that the attempt is over and everything was sent."
	op.Parameters = append(rest.PathParams(op.Path), attempt, rest.QueryParam("offset", huma.TypeInteger, "Bytes to leave out"))
	op.Responses = rest.Answers(http.StatusOK, "The stream", "text/event-stream")
	s.Raw(op, s.followLog)
}

// taskOf returns a task of a build. The build's topic on the task tells that they
// belong together, without reading the whole build.
func (s *Server) taskOf(ctx context.Context, id albs.BuildID, task albs.TaskID) (queue.Task, error) {
	t, err := s.Queue.Task(ctx, task)
	if err == nil && t.Topic != build.Topic(id) || albs.KindOf(err) == albs.NotFound {
		return t, albs.Errorf(albs.NotFound, "build %d has no task %d", id, task)
	}
	return t, err
}

func (s *Server) listLogs(ctx context.Context, in *taskInput) (*rest.Body[[]logView], error) {
	if _, err := s.taskOf(ctx, in.Build, in.Task); err != nil {
		return nil, err
	}
	attempts, err := s.Queue.Attempts(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	infos, err := s.Queue.Logs(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	out := []logView{}
	for _, l := range infos {
		out = append(out, logView{
			Attempt: l.Attempt, Stream: l.Stream, Size: l.Size, Final: ended(attempts, l.Attempt),
			Href: fmt.Sprintf("%s%s?attempt=%d", logsOf(in.Build, in.Task), l.Stream, l.Attempt),
		})
	}
	return rest.Answer(out), nil
}

func ended(attempts []queue.Attempt, number int) bool {
	i := slices.IndexFunc(attempts, func(a queue.Attempt) bool { return a.Number == number })
	return i >= 0 && !attempts[i].Ended.IsZero()
}

// stream names one log of a build's task, as the request does.
type stream struct {
	task    queue.Task
	attempt int // 0: there has been none
	ended   bool
	name    string
}

func (s *Server) streamOf(r *http.Request) (stream, error) {
	id, err1 := strconv.ParseInt(chi.URLParam(r, "build_id"), 10, 64)
	task, err2 := strconv.ParseInt(chi.URLParam(r, "task_id"), 10, 64)
	if err1 != nil || err2 != nil {
		return stream{}, albs.Errorf(albs.Invalid, "the path names no build and task by their numbers")
	}
	t, err := s.taskOf(r.Context(), albs.BuildID(id), albs.TaskID(task))
	if err != nil {
		return stream{}, err
	}
	attempts, err := s.Queue.Attempts(r.Context(), t.ID)
	if err != nil {
		return stream{}, err
	}
	out := stream{task: t, name: chi.URLParam(r, "stream")}
	if v := r.URL.Query().Get("attempt"); v != "" {
		out.attempt, err = strconv.Atoi(v)
		if err != nil || !slices.ContainsFunc(attempts, func(a queue.Attempt) bool { return a.Number == out.attempt }) {
			return stream{}, albs.Errorf(albs.NotFound, "task %d has no attempt %.20q", t.ID, v)
		}
	} else if len(attempts) > 0 {
		out.attempt = slices.MaxFunc(attempts, func(a, b queue.Attempt) int { return cmp.Compare(a.Number, b.Number) }).Number
	}
	out.ended = ended(attempts, out.attempt)
	return out, nil
}

func (s *Server) readLog(w http.ResponseWriter, r *http.Request) {
	l, err := s.streamOf(r)
	var size int64
	if err == nil {
		size, err = s.logSize(r.Context(), l)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	// A log only grows, so its size says which state of it this is.
	h.Set("ETag", fmt.Sprintf(`"%d-%d-%s-%d"`, l.task.ID, l.attempt, l.name, size))
	h.Set("X-Albs-Attempt", strconv.Itoa(l.attempt))
	h.Set("X-Albs-Final", strconv.FormatBool(l.ended))
	rest.ServeRanges(w, r, size, func(offset, length int64) (io.ReadCloser, error) {
		rc, _, err := s.Queue.ReadLog(r.Context(), l.task.ID, l.attempt, l.name, offset, length)
		return rc, err
	})
}

func (s *Server) logSize(ctx context.Context, l stream) (int64, error) {
	rc, size, err := s.Queue.ReadLog(ctx, l.task.ID, l.attempt, l.name, 0, 0)
	if err != nil {
		return 0, err
	}
	return size, rc.Close()
}

type logMessage struct {
	Attempt int    `json:"attempt"`
	Offset  int64  `json:"offset"` // of the text's first byte
	Text    string `json:"text"`
}

type logEnd struct {
	Attempt int            `json:"attempt"`
	Size    int64          `json:"size"`
	State   albs.TaskState `json:"state"`
	Reason  string         `json:"reason,omitempty"`
}

func (s *Server) followLog(w http.ResponseWriter, r *http.Request) {
	l, err := s.streamOf(r)
	offset, _, err2 := rest.ResumeAt(r, "offset")
	if err == nil {
		err = err2
	}
	if err == nil && l.ended {
		_, err = s.logSize(r.Context(), l) // of an attempt that is over, a log that isn't there never will be
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	grown, stop := s.Events.Wake(queue.LogTopic(l.task.ID))
	defer stop()
	moved, stop2 := s.Events.Wake(l.task.Topic)
	defer stop2()
	out := s.OpenStream(w, r)
	if out == nil {
		return
	}
	defer out.Close()
	for {
		// Whether it is over is asked first: what is read then is all there is.
		if !l.ended {
			now, err := s.streamOf(r)
			if err != nil {
				return // the client connects again, behind what it has
			}
			if l.attempt == 0 {
				l.attempt = now.attempt
			}
			l.task, l.ended = now.task, now.ended && now.attempt == l.attempt || now.attempt > l.attempt
		}
		if l.attempt > 0 {
			if offset, err = s.sendLog(r.Context(), out, l, offset); err != nil {
				return
			}
		}
		if l.ended || l.attempt == 0 && l.task.State.Final() {
			b, err := json.Marshal(logEnd{l.attempt, offset, l.task.State, l.task.Reason})
			if err == nil {
				_ = out.Send(offset, "end", b) // nothing follows
			}
			return
		}
		if !out.Wait(0, grown, moved) {
			return
		}
	}
}

// sendLog sends what the log has behind offset and returns where it ends.
func (s *Server) sendLog(ctx context.Context, out *face.Stream, l stream, offset int64) (int64, error) {
	for {
		chunk, size, err := s.readChunk(ctx, l, offset)
		if albs.KindOf(err) == albs.NotFound {
			return offset, nil // it may begin later
		}
		if err != nil {
			return offset, err
		}
		chunk = whole(chunk, offset+int64(len(chunk)) == size && l.ended)
		if len(chunk) == 0 {
			return offset, nil
		}
		b, err := json.Marshal(logMessage{l.attempt, offset, string(bytes.ToValidUTF8(chunk, []byte("\uFFFD")))})
		if err != nil {
			return offset, err
		}
		offset += int64(len(chunk))
		if err := out.Send(offset, "log", b); err != nil {
			return offset, err
		}
	}
}

func (s *Server) readChunk(ctx context.Context, l stream, offset int64) ([]byte, int64, error) {
	rc, size, err := s.Queue.ReadLog(ctx, l.task.ID, l.attempt, l.name, offset, logChunk)
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(rc)
	return b, size, errors.Join(err, rc.Close())
}

// whole leaves out the beginning of a character at the end of b, whose rest is
// still to come; at the very end there is no rest.
func whole(b []byte, last bool) []byte {
	if last {
		return b
	}
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			return b
		}
	}
	return b
}
