package farm

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) queueCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "queue",
		Usage:       "what waits for workers, and why",
		Description: "Who gets what is decided by fair shares, priorities and what workers can do.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "count the tasks that wait or run",
				Description: "ARCH is - where any does. albs worker list shows who works at them.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Stat], error) {
					return cl.Queue(c.Context)
				}, a.showQueue),
			}),
			ask.Listed("albs build show lists a build's tasks", ask.Answers(&urfave.Command{
				Name: "why", Usage: "say why a task waits", ArgsUsage: "TASK",
				Description: "TASK is a number that albs build show lists.\n" +
					"The sentence has the task's place, what it waits for, who could take it, and when it is likely to begin, as past runs tell.\n" +
					"For example: albs queue why 12",
				Action: ask.Numbered(a.App, "task", 1, a.whyTask),
			})),
		},
	}
}

func (a app) showQueue(stats []client.Stat) error {
	t := terminal.NewTable("STATE", "KIND", "ARCH", "TASKS")
	for _, s := range stats {
		t.Row(string(s.State), string(s.Kind), string(s.Arch), terminal.Decimal(s.Count))
	}
	return a.Table(t, "everything is done")
}

func (a app) whyTask(c *urfave.Context, cl *client.Client, id albs.TaskID) error {
	doc, err := cl.QueuedTask(c.Context, id)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := doc.Value
	switch {
	case t.Why != nil:
		return a.Say("task %d is %s: %s", t.ID, t.State, t.Why.Sentence)
	case t.State == albs.TaskLeased:
		return a.Say("task %d doesn't wait: it runs on %s since %s", t.ID, t.Worker, terminal.When(t.Since))
	}
	return a.Say("task %d doesn't wait: it is %s%s", t.ID, t.State, ask.Because(t.Reason))
}
