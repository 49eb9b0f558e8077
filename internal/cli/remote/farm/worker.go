package farm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) workerCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "worker",
		Usage:       "nodes, testers, signers and releasers: who they are and what they do",
		Description: "A worker that runs apart from the master shows a token of its own, which binds it to its role, arches and keys.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "add", Usage: "enroll a worker and print its token, which is shown this once",
				ArgsUsage: "[NAME] --role node|tester|signer|releaser [--arch A]… [--key FPR]… [--label L]…",
				Description: "The token alone goes to stdout, so that it can be put into the file that connect.token_file names. Without NAME the worker is called by its role and a number.\n" +
					"For example: (umask 077; albs worker add node-1 --role node --arch x86_64 > node.token)",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "role", Usage: "what it does: node, tester, signer or releaser (`ROLE`)"},
					&urfave.StringSliceFlag{Name: "arch", Usage: "an arch (`A`) that a node or tester may work for"},
					&urfave.StringSliceFlag{Name: "key", Usage: "the fingerprint (`FPR`) of a key that a signer may offer; all of its keys without this"},
					&urfave.StringSliceFlag{Name: "label", Usage: "what else it may offer (`L`), as big or place:eu"},
				},
				Action: terminal.Action(0, 1, a.addWorker),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list workers: how they stand and what they run", ArgsUsage: "[--state S] [--after NAME]",
				Description: "RUNS are numbers of tasks; LABELS are what it offers or, if it never asked for work, what it may.\n" +
					"STATES BY is how the key begins by which a signer or releaser states what it did.\n" +
					"STATE is busy, idle, draining or drained (albs worker drain), quarantined (it lost too much), away (not heard of for some time),\n" +
					"unseen (it never asked for work) or disabled.",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "state", Usage: "only workers in the state `S`"},
					&urfave.StringFlag{Name: "after", Usage: "only workers behind `NAME`, as the end of a long list says"},
				},
				Action: terminal.Action(0, 0, a.listWorkers),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a worker: its load, labels, keys, last contact and tasks", ArgsUsage: "NAME",
				Description: "Of cores, memory and disk it says how much the tasks that run there need, and how much the machine offers.\n" +
					"The statement key is the one by which a signer or releaser states what it did, as albs trust export has it.",
				Action: a.withWorker(1, a.showWorker),
			}),
			ask.Answers(&urfave.Command{
				Name: "drain", Usage: "give a worker nothing more; what it runs it finishes", ArgsUsage: "NAME [--reason TEXT]",
				Description: "It is drained once it runs nothing: then its machine can be taken away. Draining it again changes the reason.\n" +
					"For example: albs worker drain node-1 --reason \"new disk\"",
				Flags:  []urfave.Flag{&urfave.StringFlag{Name: "reason", Usage: "why, for whoever wonders (`TEXT`)"}},
				Action: a.withWorker(1, a.drainWorker),
			}),
			ask.Answers(&urfave.Command{
				Name: "undrain", Usage: "let a drained worker have work again", ArgsUsage: "NAME",
				Description: "A worker that isn't drained stays as it is.",
				Action:      a.withWorker(1, a.undrainWorker),
			}),
			ask.Answers(&urfave.Command{
				Name: "lift", Usage: "end a worker's quarantine", ArgsUsage: "NAME",
				Description: "A worker is quarantined when it fell silent with three different tasks within an hour. What it lost before counts no more.",
				Action:      a.withWorker(1, a.liftWorker),
			}),
			ask.Answers(&urfave.Command{
				Name: "exclude", Usage: "keep packages from a worker", ArgsUsage: "NAME (--pattern P… | --none)",
				Description: "The patterns take the place of those before.\n" +
					"For example: albs worker exclude node-1 --pattern \"kernel*\" --pattern \"chromium/*/aarch64\"",
				Flags: []urfave.Flag{
					&urfave.StringSliceFlag{Name: "pattern", Usage: "a pattern (`P`) of packages, or of package/platform/arch, with * and ?; may be repeated"},
					&urfave.BoolFlag{Name: "none", Usage: "let it have everything again"},
				},
				Action: terminal.Action(1, 1, func(c *urfave.Context) error {
					if c.Bool("none") == (len(c.StringSlice("pattern")) > 0) {
						return terminal.Misused(c, "say what it is not to get with --pattern, or --none")
					}
					return a.withWorker(1, a.excludeFromWorker)(c)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "rekey", Usage: "forget the key of a signer's or releaser's statements", ArgsUsage: "NAME",
				Description: "A worker's key is kept when it first asks for work, and another one is refused: whoever has the worker's token could come with it.\n" +
					"When the worker's directory was lost, this lets it come with a new one. What the old key stated stays true and in the trust that\n" +
					"albs trust export writes; fetch that anew once the worker has asked for work again.",
				Action: a.withWorker(1, a.rekeyWorker),
			}),
			ask.Answers(&urfave.Command{
				Name: "disable", Usage: "close a worker's identity for good", ArgsUsage: "NAME",
				Description: "Its token is refused from now on, and what it works at is given to another when its lease ends.",
				Action:      a.withWorker(1, a.disableWorker),
			}),
		},
	}
}

// withWorker is asks for a worker whose name is the first argument.
func (a app) withWorker(most int, do func(*urfave.Context, *client.Client, client.Worker) error) urfave.ActionFunc {
	return a.Asks(1, most, func(c *urfave.Context, cl *client.Client) error {
		name := c.Args().First()
		workers, err := cl.Workers(c.Context, client.WorkerQuery{Name: name})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(workers.Value, func(w client.Worker) bool { return w.Name == name })
		if i < 0 {
			return albs.Errorf(albs.NotFound, "there is no worker %q", name)
		}
		return do(c, cl, workers.Value[i])
	})
}

func (a app) addWorker(c *urfave.Context) error {
	if err := terminal.Needs(c, "role"); err != nil {
		return err
	}
	role := albs.Role(c.String("role"))
	if role == albs.RoleMaster || !slices.Contains(albs.Roles, role) {
		return terminal.Misused(c, "--role %q is none of node, tester, signer and releaser", role)
	}
	arches, err := ask.Arches(c)
	if err != nil {
		return err
	}
	if bound := role == albs.RoleNode || role == albs.RoleTester; bound != (len(arches) > 0) {
		return terminal.Misused(c, "a node and a tester need --arch, which a signer and a releaser don't have")
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name == "" {
		if name, err = freeName(c.Context, cl, role); err != nil {
			return err
		}
	}
	w, err := cl.AddWorker(c.Context, client.NewWorker{
		Name: name, Role: role, Arches: arches, Keys: c.StringSlice("key"), Labels: c.StringSlice("label"),
	})
	if err != nil {
		return err
	}
	if !c.Bool("json") {
		if err := a.Note("worker %s is enrolled as %s; its token goes into the file that its configuration names", w.Value.Name, w.Value.Role); err != nil {
			return err
		}
	}
	return a.Result(c, w.JSON, "%s", w.Value.Token)
}

// maxFree bounds the search for a free name.
const maxFree = 10_000

// freeName returns the first of role-1, role-2 … that no worker has.
func freeName(ctx context.Context, cl *client.Client, role albs.Role) (string, error) {
	taken := make(map[string]bool)
	for after := ""; ; {
		workers, err := cl.Workers(ctx, client.WorkerQuery{After: after})
		if err != nil {
			return "", err
		}
		for _, w := range workers.Value {
			taken[w.Name], after = true, w.Name
		}
		if len(workers.Value) < client.MaxWorkers || len(taken) > maxFree {
			break
		}
	}
	for n := 1; ; n++ {
		if name := fmt.Sprintf("%s-%d", role, n); !taken[name] {
			return name, nil
		}
	}
}

func (a app) listWorkers(c *urfave.Context) error {
	q := client.WorkerQuery{State: c.String("state"), After: c.String("after")}
	if q.State != "" && !slices.Contains(client.WorkerStates, q.State) {
		return terminal.Misused(c, "--state %q is none of %s", q.State, strings.Join(client.WorkerStates, ", "))
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.Workers(c.Context, q)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("NAME", "ROLE", "STATE", "RUNS", "LAST CONTACT", "LABELS", "STATES BY", "WHY")
	for _, w := range doc.Value {
		var runs []string
		for _, r := range w.Runs {
			runs = append(runs, terminal.Decimal(r.ID))
		}
		labels := w.Offers
		if w.State == "unseen" {
			labels = w.Labels
		}
		t.Row(w.Name, string(w.Role), w.State, ask.Shorten(strings.Join(runs, " ")), contact(w), strings.Join(labels, " "), keyStart(w.Key), ask.Shorten(whyBarred(w)))
	}
	none := "there are no workers; enroll one with: albs worker add NAME --role node --arch x86_64"
	if q != (client.WorkerQuery{}) {
		none = "no worker is like that"
	}
	if err := a.Table(t, none); err != nil {
		return err
	}
	if n := len(doc.Value); n == client.MaxWorkers {
		return a.Note("there may be more: %s --after %s", c.Command.HelpName, doc.Value[n-1].Name)
	}
	return nil
}

// keyStart is as much of a statement key as tells one from another; albs worker show has
// the whole.
func keyStart(key string) string {
	if len(key) > 12 {
		return key[:12] + "…"
	}
	return key
}

// contact is when a worker was heard of.
func contact(w client.Worker) string {
	switch {
	case !w.Seen.IsZero():
		return terminal.When(w.Seen)
	case w.Prefix == "":
		return "in the server"
	}
	return terminal.When(w.Used)
}

// whyBarred is why a worker gets nothing, or takes less than it could; "" if it may
// have any work.
func whyBarred(w client.Worker) string {
	switch {
	case w.Quarantined != nil:
		return w.Quarantined.Reason
	case w.Drained != nil:
		return w.Drained.Reason
	}
	return w.Pause
}

func (a app) showWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	doc, err := cl.Worker(c.Context, w.ID)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	w = doc.Value
	facts := []string{"worker", w.Name, "role", string(w.Role), "state", w.State, "last contact", contact(w), "version", w.Version,
		"offers", strings.Join(w.Offers, " "), "may offer", strings.Join(w.Labels, " "), "excludes", strings.Join(w.Exclude, " "), "statement key", w.Key,
		"enrolled", terminal.When(w.Created), "disabled", terminal.When(w.Disabled)}
	facts = append(facts, "cores", load(int64(w.Taken.Cores), int64(w.Capacity.Cores), func(n int64) string { return terminal.Decimal(n) }),
		"memory", load(w.Taken.Memory, w.Capacity.Memory, gib), "disk", load(w.Taken.Disk, w.Capacity.Disk, gib))
	if d := w.Drained; d != nil {
		facts = append(facts, "drained", terminal.When(d.Since)+" by "+d.By+ask.Because(d.Reason))
	}
	if d := w.Quarantined; d != nil {
		facts = append(facts, "quarantined", terminal.When(d.Since)+ask.Because(d.Reason))
	}
	if w.Pause != "" {
		facts = append(facts, "takes less", w.Pause)
	}
	if err := a.Facts(facts...); err != nil {
		return err
	}
	t := terminal.NewTable("TASK", "BUILD", "KIND", "STATE", "TOOK", "WHAT")
	for _, r := range w.Runs {
		build := ""
		if r.Build != 0 {
			build = terminal.Decimal(r.Build)
		}
		t.Row(terminal.Decimal(r.ID), build, string(r.Kind), string(r.State), a.Took(r.Since, time.Time{}), r.Key)
	}
	return a.Section(t)
}

// load is how much of a machine is spoken for; "" for what it doesn't tell.
func load(taken, has int64, say func(int64) string) string {
	if has == 0 {
		return ""
	}
	return say(taken) + " of " + say(has) + " taken"
}

func gib(n int64) string { return fmt.Sprintf("%.3g GiB", float64(n)/(1<<30)) }

func (a app) drainWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	doc, err := cl.DrainWorker(c.Context, w.ID, c.String("reason"))
	if err != nil {
		return err
	}
	rest := "it runs nothing: its machine can be taken away"
	if n := len(doc.Value.Runs); n > 0 {
		rest = fmt.Sprintf("it still runs %d, which albs worker show %s lists", n, w.Name)
	}
	return a.Result(c, doc.JSON, "worker %s gets nothing more; %s", w.Name, rest)
}

func (a app) undrainWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	doc, err := cl.UndrainWorker(c.Context, w.ID)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "worker %s is %s", w.Name, doc.Value.State)
}

func (a app) liftWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	doc, err := cl.LiftWorker(c.Context, w.ID)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "worker %s is %s", w.Name, doc.Value.State)
}

func (a app) rekeyWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	doc, err := cl.RekeyWorker(c.Context, w.ID)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "the statement key of worker %s is forgotten; the next that it comes with is kept", w.Name)
}

func (a app) excludeFromWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	patterns := c.StringSlice("pattern")
	doc, err := cl.ExcludeFromWorker(c.Context, w.ID, patterns)
	if err != nil {
		return err
	}
	if len(patterns) == 0 {
		return a.Result(c, doc.JSON, "worker %s may have everything", w.Name)
	}
	return a.Result(c, doc.JSON, "worker %s doesn't get %s", w.Name, strings.Join(doc.Value.Exclude, " "))
}

func (a app) disableWorker(c *urfave.Context, cl *client.Client, w client.Worker) error {
	out, err := cl.DisableWorker(c.Context, w.ID)
	if err != nil {
		return err
	}
	return a.Result(c, out.JSON, "worker %s is disabled; its leases end by themselves", w.Name)
}
