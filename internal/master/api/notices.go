package api

import (
	"context"
	"time"

	"albs/internal/master/api/rest"
	"albs/internal/master/notice"
)

func (s *Server) routeNotices() {
	const one = "/api/v1/notices/{subscription_id}/"
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/notices/", "List subscriptions, those of one's teams"), s.listNotices)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/notices/", "Subscribe a webhook or a mail address; a webhook's key is shown this once")), s.subscribe)
	rest.Handle(s.Server, rest.Operation(get, one, "Show a subscription"), s.getNotice)
	rest.Handle(s.Server, rest.Operation(patch, one, "Change a subscription; what is left out stays"), s.editNotice)
	rest.Handle(s.Server, rest.Operation(remove, one, "Remove a subscription with its deliveries"), s.removeNotice)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, one+"test/", "Have something sent that says it is a test")), s.testNotice)
	rest.Handle(s.Server, rest.Operation(get, one+"deliveries/", "List what was sent to a subscription in the last month, the newest first"), s.listDeliveries)
	rest.Handle(s.Server, rest.Operation(post, "/api/v1/notice-deliveries/{delivery_id}/retry/", "Have a dead delivery sent again"), s.retryDelivery)
}

// noticeFilter is what a subscription wants; a test holds the kinds against those of notice.
type noticeFilter struct {
	Kinds     []notice.Kind `json:"kinds" minItems:"1" maxItems:"20" enum:"errata.released,errata.withdrawn,errata.trouble,errata.sound,release.published,release.failed,release.reverted,build.succeeded,build.failed,build.cancelled" doc:"What is told of"`
	Platforms []string      `json:"platforms,omitempty" maxItems:"50" doc:"Only what is told of these; what isn't told of single platforms passes"`
	Products  []string      `json:"products,omitempty" maxItems:"50" doc:"Only what is told of these"`
	Severity  string        `json:"severity,omitempty" enum:"none,low,moderate,important,critical" doc:"Of advisories, only those at least as severe"`
}

func (f noticeFilter) filter() notice.Filter {
	return notice.Filter{Kinds: f.Kinds, Platforms: f.Platforms, Products: f.Products, Severity: f.Severity}
}

type noticeView struct {
	ID           int64          `json:"id"`
	Team         string         `json:"team" doc:"Whose it is; empty for the installation's"`
	Channel      notice.Channel `json:"channel" enum:"webhook,mail"`
	Target       string         `json:"target" doc:"The URL or the address"`
	Note         string         `json:"note"`
	Filter       noticeFilter   `json:"filter"`
	Revision     int64          `json:"revision" doc:"Raised by every change"`
	CreatedBy    string         `json:"created_by"`
	CreatedAt    time.Time      `json:"created_at"`
	ChangedAt    time.Time      `json:"changed_at"`
	Active       bool           `json:"active"`
	Stopped      string         `json:"stopped,omitempty" doc:"Why nothing is sent, if nothing is"`
	Failures     int            `json:"failures" doc:"Attempts in a row that failed"`
	PausedUntil  *time.Time     `json:"paused_until" doc:"Nothing is sent before, for what failed"`
	WaitingCount int            `json:"waiting" doc:"Deliveries that wait to be sent"`
	SentCount    int            `json:"sent" doc:"Of the last month"`
	DeadCount    int            `json:"dead" doc:"Of the last month: given up"`
	Key          string         `json:"key,omitempty" doc:"The key of a webhook, as Standard Webhooks has it, in the answer that makes it and never again"`
}

func viewNotice(s notice.Subscription) noticeView {
	return noticeView{
		ID: s.ID, Team: s.Team, Channel: s.Channel, Target: s.Target, Note: s.Note, Filter: noticeFilter(s.Filter), Revision: s.Revision, CreatedBy: s.Actor,
		CreatedAt: s.Created, ChangedAt: s.Changed, Active: s.Stopped == "", Stopped: s.Stopped, Failures: s.Failures, PausedUntil: rest.TimeOf(s.Paused),
		WaitingCount: s.Waiting, SentCount: s.Sent, DeadCount: s.Dead,
	}
}

func (s *Server) listNotices(ctx context.Context, _ *struct{}) (*rest.Body[[]noticeView], error) {
	all, err := s.Notices.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]noticeView, len(all))
	for i, v := range all {
		out[i] = viewNotice(v)
	}
	return rest.Answer(out), nil
}

type subscribeInput struct {
	Body struct {
		Team    string         `json:"team,omitempty" doc:"Whose it is; without one the installation's, for operators"`
		Channel notice.Channel `json:"channel" enum:"webhook,mail"`
		Target  string         `json:"target" maxLength:"2000" doc:"The URL or the address"`
		Note    string         `json:"note,omitempty" maxLength:"200"`
		Filter  noticeFilter   `json:"filter"`
	}
}

func (s *Server) subscribe(ctx context.Context, in *subscribeInput) (*rest.Body[noticeView], error) {
	b := in.Body
	made, key, err := s.Notices.Subscribe(ctx, notice.NewSubscription{Team: b.Team, Channel: b.Channel, Target: b.Target, Note: b.Note, Filter: b.Filter.filter()})
	if err != nil {
		return nil, err
	}
	out := viewNotice(made)
	out.Key = key
	return rest.Answer(out), nil
}

type noticeInput struct {
	ID int64 `path:"subscription_id" minimum:"1"`
}

func (s *Server) getNotice(ctx context.Context, in *noticeInput) (*rest.Body[noticeView], error) {
	v, err := s.Notices.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewNotice(v)), nil
}

type editNoticeInput struct {
	ID   int64 `path:"subscription_id" minimum:"1"`
	Body struct {
		Revision int64         `json:"revision,omitempty" doc:"Refuse if it has another"`
		Target   *string       `json:"target,omitempty" maxLength:"2000"`
		Note     *string       `json:"note,omitempty" maxLength:"200"`
		Filter   *noticeFilter `json:"filter,omitempty" doc:"In place of the one before"`
		Active   *bool         `json:"active,omitempty" doc:"false stops it, and what waits is dead; true starts it"`
	}
}

func (s *Server) editNotice(ctx context.Context, in *editNoticeInput) (*rest.Body[noticeView], error) {
	c := notice.Change{Revision: in.Body.Revision, Target: in.Body.Target, Note: in.Body.Note, Active: in.Body.Active}
	if in.Body.Filter != nil {
		f := in.Body.Filter.filter()
		c.Filter = &f
	}
	v, err := s.Notices.Edit(ctx, in.ID, c)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewNotice(v)), nil
}

func (s *Server) removeNotice(ctx context.Context, in *noticeInput) (*struct{}, error) {
	return nil, s.Notices.Remove(ctx, in.ID)
}

type deliveryView struct {
	ID           int64        `json:"id"`
	Subscription int64        `json:"subscription_id"`
	Message      string       `json:"message" doc:"Its id for the receiver, the same each time that it is sent"`
	Kind         notice.Kind  `json:"kind"`
	Title        string       `json:"title"`
	State        notice.State `json:"state" enum:"waiting,sent,dead"`
	Attempts     int          `json:"attempts"`
	Reason       string       `json:"reason,omitempty" doc:"Of the last failure"`
	CreatedAt    time.Time    `json:"created_at"`
	NextAt       *time.Time   `json:"next_at" doc:"When it is tried next, at the earliest"`
	EndedAt      *time.Time   `json:"ended_at"`
}

func viewDelivery(d notice.Delivery) deliveryView {
	return deliveryView{d.ID, d.Subscription, d.Message, d.Kind, d.Title, d.State, d.Attempts, d.Reason, d.Created, rest.TimeOf(d.Next), rest.TimeOf(d.Ended)}
}

func (s *Server) testNotice(ctx context.Context, in *noticeInput) (*rest.Body[deliveryView], error) {
	d, err := s.Notices.Test(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewDelivery(d)), nil
}

type deliveriesInput struct {
	ID     int64 `path:"subscription_id" minimum:"1"`
	Before int64 `query:"before" minimum:"0" doc:"List on before the delivery of this id, for the next page; fifty are one"`
}

func (s *Server) listDeliveries(ctx context.Context, in *deliveriesInput) (*rest.Body[[]deliveryView], error) {
	all, err := s.Notices.Deliveries(ctx, in.ID, in.Before)
	if err != nil {
		return nil, err
	}
	out := make([]deliveryView, len(all))
	for i, d := range all {
		out[i] = viewDelivery(d)
	}
	return rest.Answer(out), nil
}

type deliveryInput struct {
	ID int64 `path:"delivery_id" minimum:"1"`
}

func (s *Server) retryDelivery(ctx context.Context, in *deliveryInput) (*rest.Body[deliveryView], error) {
	d, err := s.Notices.Retry(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewDelivery(d)), nil
}
