// Package notice has the commands about who is told what happens, and where.
package notice

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

type app struct{ *ask.App }

// maxURL bounds a file with the URL of a webhook.
const maxURL = 4 << 10

// Commands returns the command about notices.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{ask.Listed("albs notice list shows all of your teams", a.noticeCommand())}
}

const kinds = "Kinds are errata.released, errata.withdrawn, errata.trouble, errata.sound, release.published, release.failed, release.reverted, build.succeeded, build.failed and build.cancelled."

// filterFlags say what is told of.
func filterFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringSliceFlag{Name: "on", Usage: "tell of this `KIND`; may be given several times"},
		&urfave.StringSliceFlag{Name: "platform", Aliases: []string{"p"}, Usage: "only of this `PLATFORM`; may be given several times"},
		&urfave.StringSliceFlag{Name: "product", Usage: "only of this `PRODUCT`; may be given several times"},
		&urfave.StringFlag{Name: "severity", Usage: "of advisories, only from this `SEVERITY` on: critical, important, moderate, low or none"},
	}
}

func (a app) noticeCommand() *urfave.Command {
	target := []urfave.Flag{
		&urfave.StringFlag{Name: "webhook", Usage: "the webhook's `URL`, if that holds no secret"},
		&urfave.StringFlag{Name: "webhook-file", Usage: "a `FILE` with the webhook's URL, - for stdin"},
		&urfave.StringFlag{Name: "mail", Usage: "the mail `ADDRESS`"},
	}
	note := &urfave.StringFlag{Name: "note", Usage: "a `NOTE` that says what it is for"}
	return &urfave.Command{
		Name: "notice", Usage: "webhooks and mail that tell others what happens",
		Description: "A subscription is one webhook or one mail address. docs/notices.md says what a webhook gets and how it is checked.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list subscriptions, those of your teams",
				Description: "An operator sees all of them.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Subscription], error) {
					return cl.Subscriptions(c.Context)
				}, a.list),
			}),
			ask.Answers(&urfave.Command{
				Name: "add", Usage: "subscribe a webhook or a mail address",
				ArgsUsage: "(--webhook URL | --webhook-file FILE | --mail ADDRESS) --on KIND [--team TEAM] [--platform PLATFORM] [--product PRODUCT] [--severity SEVERITY] [--note NOTE]",
				Description: kinds + "\n" +
					"A webhook's key goes to stdout this once: its receiver checks by it that a message comes from here.\n" +
					"For example: (umask 077; albs notice add --webhook https://hooks.example.org/albs --on errata.released --severity important --team core > key)",
				Flags: append(append(target, &urfave.StringFlag{Name: "team", Usage: "the `TEAM` whose it is; without one it is the installation's, for operators"}, note), filterFlags()...),
				Action: terminal.Action(0, 0, func(c *urfave.Context) error {
					n := client.NewSubscription{Team: c.String("team"), Note: c.String("note"), Filter: filterOf(c)}
					var err error
					if n.Channel, n.Target, err = a.target(c); err != nil {
						return err
					}
					if n.Target == "" {
						return terminal.Misused(c, "say whom to tell: --webhook, --webhook-file or --mail")
					}
					if len(n.Filter.Kinds) == 0 {
						return terminal.Misused(c, "say of what to tell: --on KIND")
					}
					cl, err := a.Connect()
					if err != nil {
						return err
					}
					made, err := cl.Subscribe(c.Context, n)
					if err != nil {
						return err
					}
					s := made.Value
					if s.Key == "" {
						return a.Result(c, made.JSON, "subscription %d is made", s.ID)
					}
					if !c.Bool("json") {
						if err := a.Note("subscription %d is made; give its receiver the key, which nobody can show again", s.ID); err != nil {
							return err
						}
					}
					return a.Result(c, made.JSON, "%s", s.Key)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "edit", Usage: "change a subscription, stop it or start it again",
				ArgsUsage: "ID [--on KIND] [--platform PLATFORM] [--product PRODUCT] [--severity SEVERITY] [--webhook URL | --webhook-file FILE | --mail ADDRESS] [--note NOTE] [--stop | --start]",
				Description: "What it is told of is replaced as a whole, if any of --on, --platform, --product and --severity is given.\n" +
					"What waits in one that is stopped isn't sent any more.\n" +
					"For example: albs notice edit 3 --on errata.released --on errata.withdrawn --severity critical",
				Flags:  append(append(target, note, &urfave.BoolFlag{Name: "stop", Usage: "send nothing more"}, &urfave.BoolFlag{Name: "start", Usage: "send again, and at once"}), filterFlags()...),
				Action: ask.Numbered(a.App, "subscription", 1, a.edit),
			}),
			&urfave.Command{
				Name: "remove", Usage: "remove a subscription, with what is known of its deliveries", ArgsUsage: "ID",
				Description: "What is on its way isn't sent any more.\nFor example: albs notice remove 3",
				Action: ask.Numbered(a.App, "subscription", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					if err := cl.Unsubscribe(c.Context, id); err != nil {
						return err
					}
					return a.Say("subscription %d is removed", id)
				}),
			},
			ask.Answers(&urfave.Command{
				Name: "test", Usage: "have something sent that says it is a test", ArgsUsage: "ID",
				Description: "It goes the way of all others, so that its receiver can be tried.\nFor example: albs notice test 3",
				Action: ask.Numbered(a.App, "subscription", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					d, err := cl.TestSubscription(c.Context, id)
					if err != nil {
						return err
					}
					return a.Result(c, d.JSON, "delivery %d is on its way; albs notice deliveries %d shows what came of it", d.Value.ID, id)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "deliveries", Usage: "list what was sent to a subscription in the last month", ArgsUsage: "ID [--before DELIVERY]",
				Description: "The newest are first, fifty at most.\nFor example: albs notice deliveries 3",
				Flags:       []urfave.Flag{&urfave.Int64Flag{Name: "before", Usage: "list on before this `DELIVERY`"}},
				Action:      ask.Numbered(a.App, "subscription", 1, a.deliveries),
			}),
			ask.Listed("albs notice deliveries lists them", ask.Answers(&urfave.Command{
				Name: "retry", Usage: "have a dead delivery sent again", ArgsUsage: "DELIVERY",
				Description: "It bears the id that it had, so that its receiver can tell.\nFor example: albs notice retry 12",
				Action: ask.Numbered(a.App, "delivery", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					d, err := cl.RetryDelivery(c.Context, id)
					if err != nil {
						return err
					}
					return a.Result(c, d.JSON, "delivery %d is on its way", d.Value.ID)
				}),
			})),
		},
	}
}

func filterOf(c *urfave.Context) client.NoticeFilter {
	return client.NoticeFilter{Kinds: c.StringSlice("on"), Platforms: c.StringSlice("platform"), Products: c.StringSlice("product"), Severity: c.String("severity")}
}

// target reads whom to tell; "" if nobody is named.
func (a app) target(c *urfave.Context) (channel, target string, err error) {
	n := 0
	for _, name := range []string{"webhook", "webhook-file", "mail"} {
		if c.IsSet(name) {
			n++
		}
	}
	switch {
	case n > 1:
		return "", "", terminal.Misused(c, "choose one of --webhook, --webhook-file and --mail")
	case c.IsSet("mail"):
		return "mail", c.String("mail"), nil
	case c.IsSet("webhook"):
		return "webhook", c.String("webhook"), nil
	case c.IsSet("webhook-file"):
		b, err := a.ReadFile(c.String("webhook-file"), "URL", maxURL)
		return "webhook", strings.TrimSpace(string(b)), err
	}
	return "", "", nil
}

func (a app) edit(c *urfave.Context, cl *client.Client, id int64) error {
	var change client.SubscriptionChange
	_, target, err := a.target(c)
	if err != nil {
		return err
	}
	if target != "" {
		change.Target = &target
	}
	if c.IsSet("note") {
		note := c.String("note")
		change.Note = &note
	}
	if c.IsSet("on") || c.IsSet("platform") || c.IsSet("product") || c.IsSet("severity") {
		f := filterOf(c)
		if len(f.Kinds) == 0 {
			return terminal.Misused(c, "what it is told of is replaced as a whole: give --on KIND too")
		}
		change.Filter = &f
	}
	if c.Bool("stop") && c.Bool("start") {
		return terminal.Misused(c, "choose one of --stop and --start")
	}
	if c.Bool("stop") || c.Bool("start") {
		on := c.Bool("start")
		change.Active = &on
	}
	if change == (client.SubscriptionChange{}) {
		return terminal.Misused(c, "say what to change")
	}
	s, err := cl.ChangeSubscription(c.Context, id, change)
	if err != nil {
		return err
	}
	return a.Result(c, s.JSON, "subscription %d is %s", id, state(s.Value))
}

// state says how a subscription stands.
func state(s client.Subscription) string {
	switch {
	case s.Stopped != "":
		return "stopped: " + s.Stopped
	case !s.Paused.IsZero():
		return "paused until " + terminal.When(s.Paused)
	}
	return "active"
}

func (a app) list(all []client.Subscription) error {
	t := terminal.NewTable("ID", "TEAM", "TO", "ON", "ONLY", "WAITING", "SENT", "DEAD", "STATE")
	for _, s := range all {
		only := append(append([]string{}, s.Filter.Platforms...), s.Filter.Products...)
		if s.Filter.Severity != "" {
			only = append(only, "from "+s.Filter.Severity)
		}
		t.Row(terminal.Decimal(s.ID), s.Team, ask.Shorten(s.Target), strings.Join(s.Filter.Kinds, " "), strings.Join(only, " "),
			terminal.Decimal(s.Waiting), terminal.Decimal(s.Sent), terminal.Decimal(s.Dead), ask.Shorten(state(s)))
	}
	return a.Table(t, "nobody is told anything")
}

func (a app) deliveries(c *urfave.Context, cl *client.Client, id int64) error {
	doc, err := cl.Deliveries(c.Context, id, c.Int64("before"))
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("ID", "WHEN", "STATE", "ATTEMPTS", "WHAT", "WHY")
	for _, d := range doc.Value {
		t.Row(terminal.Decimal(d.ID), terminal.When(d.Created), d.State, terminal.Decimal(d.Attempts), ask.Shorten(d.Title), ask.Shorten(d.Reason))
	}
	if err := a.Table(t, "nothing was sent"); err != nil {
		return err
	}
	if n := len(doc.Value); n == 50 {
		return a.Note("more: %s %d --before %d", c.Command.HelpName, id, doc.Value[n-1].ID)
	}
	return nil
}
