package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// NoticeFilter says what a subscription wants to be told of.
type NoticeFilter struct {
	Kinds     []string `json:"kinds"`
	Platforms []string `json:"platforms,omitempty"`
	Products  []string `json:"products,omitempty"`
	Severity  string   `json:"severity,omitempty"`
}

// Subscription is a webhook or a mail address that is told what happens; Key only of a
// webhook just made.
type Subscription struct {
	ID       int64        `json:"id"`
	Team     string       `json:"team"`
	Channel  string       `json:"channel"`
	Target   string       `json:"target"`
	Note     string       `json:"note"`
	Filter   NoticeFilter `json:"filter"`
	Revision int64        `json:"revision"`
	By       string       `json:"created_by"`
	Created  time.Time    `json:"created_at"`
	Stopped  string       `json:"stopped"`
	Failures int          `json:"failures"`
	Paused   time.Time    `json:"paused_until"`
	Waiting  int          `json:"waiting"`
	Sent     int          `json:"sent"`
	Dead     int          `json:"dead"`
	Key      string       `json:"key"`
}

// NewSubscription asks for a subscription.
type NewSubscription struct {
	Team    string       `json:"team,omitempty"`
	Channel string       `json:"channel"`
	Target  string       `json:"target"`
	Note    string       `json:"note,omitempty"`
	Filter  NoticeFilter `json:"filter"`
}

// SubscriptionChange is what is changed of a subscription; nil stays.
type SubscriptionChange struct {
	Revision int64         `json:"revision,omitempty"`
	Target   *string       `json:"target,omitempty"`
	Note     *string       `json:"note,omitempty"`
	Filter   *NoticeFilter `json:"filter,omitempty"`
	Active   *bool         `json:"active,omitempty"`
}

// Delivery is what was or is to be sent to a subscription.
type Delivery struct {
	ID       int64     `json:"id"`
	Message  string    `json:"message"`
	Kind     string    `json:"kind"`
	Title    string    `json:"title"`
	State    string    `json:"state"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"`
	Created  time.Time `json:"created_at"`
	Next     time.Time `json:"next_at"`
	Ended    time.Time `json:"ended_at"`
}

// Subscriptions lists the subscriptions of one's teams.
func (c *Client) Subscriptions(ctx context.Context) (Doc[[]Subscription], error) {
	return get[[]Subscription](ctx, c, "/notices/")
}

// Subscription returns a subscription.
func (c *Client) Subscription(ctx context.Context, id int64) (Doc[Subscription], error) {
	return get[Subscription](ctx, c, fmt.Sprintf("/notices/%d/", id))
}

// Subscribe makes a subscription; this answer alone has a webhook's key.
func (c *Client) Subscribe(ctx context.Context, n NewSubscription) (Doc[Subscription], error) {
	return send[Subscription](ctx, c, http.MethodPost, "/notices/", n)
}

// ChangeSubscription changes a subscription.
func (c *Client) ChangeSubscription(ctx context.Context, id int64, change SubscriptionChange) (Doc[Subscription], error) {
	return send[Subscription](ctx, c, http.MethodPatch, fmt.Sprintf("/notices/%d/", id), change)
}

// Unsubscribe removes a subscription with its deliveries.
func (c *Client) Unsubscribe(ctx context.Context, id int64) error {
	return c.Send(ctx, http.MethodDelete, fmt.Sprintf("/notices/%d/", id), nil, nil)
}

// TestSubscription has something sent that says it is a test.
func (c *Client) TestSubscription(ctx context.Context, id int64) (Doc[Delivery], error) {
	return send[Delivery](ctx, c, http.MethodPost, fmt.Sprintf("/notices/%d/test/", id), nil)
}

// Deliveries lists the newest deliveries of a subscription before one, 0 for none.
func (c *Client) Deliveries(ctx context.Context, id, before int64) (Doc[[]Delivery], error) {
	path := fmt.Sprintf("/notices/%d/deliveries/", id)
	if before != 0 {
		path += fmt.Sprintf("?before=%d", before)
	}
	return get[[]Delivery](ctx, c, path)
}

// RetryDelivery has a dead delivery sent again.
func (c *Client) RetryDelivery(ctx context.Context, id int64) (Doc[Delivery], error) {
	return send[Delivery](ctx, c, http.MethodPost, fmt.Sprintf("/notice-deliveries/%d/retry/", id), nil)
}
