package farm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

func (a app) gcCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "gc", Usage: "remove what nothing needs any more", ArgsUsage: "[--dry-run]",
		Description: "Builds whose time is over are deleted, and what nothing names any more is removed.\n" +
			"Serials that are beyond the retention of their product are given up before.\n" +
			"That is files, logs of deleted builds and git mirrors out of use, once the time of grace is over.\n" +
			"The master does so by itself too, daily unless it is told otherwise.\n" +
			"For example: albs gc --dry-run",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "dry-run", Usage: "change nothing and say what would be done"}},
		Action: a.Asks(0, 0, func(c *urfave.Context, cl *client.Client) error {
			return a.collect(c, cl, c.Bool("dry-run"))
		}),
	})
}

func (a app) collect(c *urfave.Context, cl *client.Client, dryRun bool) error {
	before, err := cl.Collect(c.Context, dryRun)
	if err != nil {
		return err
	}
	var last client.Doc[client.Collection]
	err = a.UntilRun(c.Context, cl, before, "the collection goes on; albs gc says so while it runs", func(ctx context.Context) (run watch.Run, err error) {
		last, err = cl.Collection(ctx)
		v := last.Value
		if v.Step != "" {
			run.Now = fmt.Sprintf("%s: %d", v.Step, v.Done)
		}
		run.Ended, run.Last = v.Runs, v.Last != nil
		return run, err
	})
	if err != nil {
		return err
	}
	r := last.Value.Last
	if c.Bool("json") {
		err = a.PrintLast(last.JSON)
	} else {
		err = a.Facts(
			"builds deleted", ask.Numbers(r.Builds),
			"serials given up", retired(r),
			"files removed", fmt.Sprintf("%d of %d, %d of %d bytes", r.Blobs.Removed, r.Blobs.Blobs, r.Blobs.RemovedBytes, r.Blobs.Bytes),
			"files that wait", fmt.Sprintf("%d, %d bytes; %d of them nothing names since now", r.Blobs.Waiting, r.Blobs.WaitingBytes, r.Blobs.Marked),
			"logs removed", fmt.Sprintf("of %d tasks, %d bytes", r.Logs.Tasks, r.Logs.Bytes),
			"git mirrors removed", terminal.Decimal(r.Mirrors),
		)
	}
	switch {
	case r.Error != "":
		err = errors.Join(err, albs.Errorf(albs.Internal, "the collection ended early: %s", r.Error))
	case r.DryRun && err == nil:
		err = a.Note("nothing was changed: this is what a collection would do")
	}
	return err
}

// retired is what a collection gave up of what products have shown, as a line.
func retired(r *client.Collected) string {
	var of []string
	for _, p := range r.Retired {
		of = append(of, fmt.Sprintf("%d of %s, before %d", len(p.Serials), p.Product, p.Oldest))
	}
	return strings.Join(of, "; ")
}
