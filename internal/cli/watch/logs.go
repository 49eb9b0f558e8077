package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/dustin/go-humanize"
	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// streams are the logs by the interest that they have for who names none: the
// last step that a task came to, first.
var streams = []string{"build", "test", "import", "sign", "publish", "root", "state"}

// Logs is the action of a command that lists a build's logs, prints the one of a TASK
// that the second argument names, or follows them, as its flags have it.
func (w *Watch) Logs(c *urfave.Context, cl *client.Client, build albs.BuildID) error {
	if c.Int("attempt") < 0 {
		return terminal.Misused(c, "--attempt %d: attempts are counted from 1", c.Int("attempt"))
	}
	if c.NArg() > 1 {
		task, err := terminal.Number(c, "task", c.Args().Get(1))
		if err != nil {
			return err
		}
		return w.taskLog(c, cl, build, albs.TaskID(task))
	}
	if c.IsSet("stream") || c.IsSet("attempt") {
		return terminal.Misused(c, "--stream and --attempt need a TASK")
	}
	if c.Bool("follow") {
		return w.followBuild(c, cl, build)
	}
	return w.listLogs(c, cl, build)
}

// listLogs prints which logs a build has.
func (w *Watch) listLogs(c *urfave.Context, cl *client.Client, build albs.BuildID) error {
	b, err := cl.Build(c.Context, build)
	if err != nil {
		return err
	}
	tests, err := cl.Tests(c.Context, build)
	if err != nil {
		return err
	}
	list, _ := w.steps(b.Value, Latest(tests.Value))
	t := terminal.NewTable("TASK", "STEP", "STATE", "ATTEMPT", "LOG", "SIZE")
	for _, s := range list {
		logs, err := cl.Logs(c.Context, build, s.task)
		if err != nil {
			return err
		}
		for _, l := range logs.Value {
			t.Row(terminal.Decimal(s.task), s.label, State(s.state, 0), terminal.Decimal(l.Attempt), l.Stream, humanize.IBytes(uint64(max(l.Size, 0))))
		}
	}
	if err := w.Table(t, "there are no logs yet"); err != nil || t.Empty() {
		return err
	}
	return w.Note("print one with: albs build logs %d TASK [--stream LOG]", build)
}

func (w *Watch) taskLog(c *urfave.Context, cl *client.Client, build albs.BuildID, task albs.TaskID) error {
	logs, err := cl.Logs(c.Context, build, task)
	if err != nil || c.Bool("json") {
		return w.JSONOr(logs.JSON, err)
	}
	stream, attempt := c.String("stream"), c.Int("attempt")
	if c.Bool("follow") {
		if stream == "" {
			if stream, err = w.chiefLog(c.Context, cl, build, task); err != nil {
				return err
			}
		}
		_, err := w.followLog(c.Context, cl, build, task, stream, attempt, w.LogWriter())
		return err
	}
	l, ok := choose(logs.Value, stream, attempt)
	if !ok {
		return albs.Errorf(albs.Conflict, "task %d has no such log yet; albs build logs %d lists all that there are, and with -f one is waited for", task, build)
	}
	return w.printLog(c.Context, cl, build, task, l, w.LogWriter())
}

// chiefLog returns the name of the log that tells most of a task.
func (w *Watch) chiefLog(ctx context.Context, cl *client.Client, build albs.BuildID, task albs.TaskID) (string, error) {
	b, err := cl.Build(ctx, build)
	if err != nil {
		return "", err
	}
	tests, err := cl.Tests(ctx, build)
	if err != nil {
		return "", err
	}
	list, _ := w.steps(b.Value, Latest(tests.Value))
	if i := slices.IndexFunc(list, func(s step) bool { return s.task == task }); i >= 0 {
		return list[i].stream, nil
	}
	return streams[0], nil
}

func (w *Watch) printLog(ctx context.Context, cl *client.Client, build albs.BuildID, task albs.TaskID, l client.Log, to io.Writer) error {
	r, err := cl.OpenLog(ctx, build, task, l)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	_, err = io.Copy(to, r)
	return err
}

// followLog prints a log as it grows until its attempt is over. Of an attempt that
// never came to that log it prints the last one that it came to. It returns the
// number of bytes printed.
func (w *Watch) followLog(ctx context.Context, cl *client.Client, build albs.BuildID, task albs.TaskID, stream string, attempt int, to io.Writer) (int64, error) {
	counted := &counter{w: to}
	err := cl.FollowLog(ctx, build, task, stream, attempt, counted)
	if counted.n > 0 || err != nil && !errors.Is(err, albs.NotFound) {
		return counted.n, err
	}
	logs, listErr := cl.Logs(ctx, build, task)
	if listErr != nil {
		return 0, listErr
	}
	l, ok := choose(logs.Value, "", attempt)
	if !ok || l.Stream == stream {
		return 0, err
	}
	err = w.printLog(ctx, cl, build, task, l, counted)
	return counted.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// choose returns the log of that name and attempt; without a name the one of the
// greatest interest, without an attempt of the newest that has one.
func choose(logs []client.Log, stream string, attempt int) (client.Log, bool) {
	var found []client.Log
	newest := 0
	for _, l := range logs {
		if (stream == "" || l.Stream == stream) && (attempt == 0 || l.Attempt == attempt) {
			found = append(found, l)
			newest = max(newest, l.Attempt)
		}
	}
	found = slices.DeleteFunc(found, func(l client.Log) bool { return l.Attempt != newest })
	for _, name := range streams {
		if i := slices.IndexFunc(found, func(l client.Log) bool { return l.Stream == name }); i >= 0 {
			return found[i], true
		}
	}
	if len(found) > 0 {
		return found[len(found)-1], true
	}
	return client.Log{}, false
}

// followBuild prints the logs of a build's steps one after the other, each from
// its beginning, as they run, until nothing of the build goes on.
func (w *Watch) followBuild(c *urfave.Context, cl *client.Client, build albs.BuildID) error {
	m := w.NewMeter()
	shown := map[albs.TaskID]int{} // attempts
	var b client.Build
	err := w.Until(c.Context, cl, fmt.Sprintf("build:%d", build), m, goesOn(build), func(ctx context.Context) (bool, error) {
		for {
			doc, err := cl.Build(ctx, build)
			if err != nil {
				return false, err
			}
			tests, err := cl.Tests(ctx, build)
			if err != nil {
				return false, err
			}
			b = doc.Value
			list, tested := w.steps(b, Latest(tests.Value))
			i := slices.IndexFunc(list, func(s step) bool { return s.state == albs.TaskLeased && s.attempts > shown[s.task] })
			if i < 0 {
				return b.Final() && (tested || b.State != "succeeded"), nil
			}
			s := list[i]
			m.Line("== %s%s (task %d, log %s)", s.label, s.detail, s.task, s.stream)
			if _, err := w.followLog(ctx, cl, build, s.task, s.stream, s.attempts, w.LogWriter()); err != nil && !errors.Is(err, albs.NotFound) {
				return false, err
			}
			shown[s.task] = s.attempts
		}
	})
	if err != nil {
		return err
	}
	if b.State != "succeeded" {
		return failure(b)
	}
	return nil
}
