package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// TestRepository is one in which maintainers keep tests of packages.
type TestRepository struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Ref       string    `json:"git_ref"`
	Dir       string    `json:"tests_dir"`
	Prefix    string    `json:"tests_prefix"`
	Team      string    `json:"team"` // "" is the installation's
	Total     int       `json:"total_packages"`
	Commit    string    `json:"commit"`
	ScannedAt time.Time `json:"scanned_at"`
	Failure   string    `json:"failure"` // why the last scan came to nothing
	Added     int       `json:"added"`   // by the scan that was asked for
	Removed   int       `json:"removed"`
}

// NewTestRepository registers one, or changes one: nil stays.
type NewTestRepository struct {
	Name   *string `json:"name,omitempty"`
	URL    *string `json:"url,omitempty"`
	Ref    *string `json:"git_ref,omitempty"`
	Dir    *string `json:"tests_dir,omitempty"`
	Prefix *string `json:"tests_prefix,omitempty"`
	Team   *string `json:"team,omitempty"`
}

// TestMapping says that a package is tested by a folder of a repository.
type TestMapping struct {
	ID      int64  `json:"id,omitempty"`
	Package string `json:"package_name,omitempty"`
	Folder  string `json:"folder_name"`
	Regex   string `json:"regex,omitempty"` // in place of Package
	Scanned bool   `json:"scanned,omitempty"`
}

// TestMappings is a page of them.
type TestMappings struct {
	Packages []TestMapping `json:"packages"`
	Total    int           `json:"total_packages"`
}

const testRepositories = "/test_repositories/"

func testRepository(id int64) string { return fmt.Sprintf(testRepositories+"%d/", id) }

// TestRepositories lists all test repositories, by name.
func (c *Client) TestRepositories(ctx context.Context) (Doc[[]TestRepository], error) {
	return get[[]TestRepository](ctx, c, testRepositories)
}

// TestRepository returns one.
func (c *Client) TestRepository(ctx context.Context, id int64) (Doc[TestRepository], error) {
	return get[TestRepository](ctx, c, testRepository(id))
}

// TestMappings returns a page, from 1, of what a repository maps that has text in the
// package or the folder.
func (c *Client) TestMappings(ctx context.Context, id int64, text string, page int) (Doc[TestMappings], error) {
	v := url.Values{"pageNumber": {strconv.Itoa(page)}}
	set(v, "search", text)
	return get[TestMappings](ctx, c, testRepository(id)+"packages/?"+v.Encode())
}

// AddTestRepository registers a test repository, which is scanned first.
func (c *Client) AddTestRepository(ctx context.Context, n NewTestRepository) (Doc[TestRepository], error) {
	return send[TestRepository](ctx, c, http.MethodPost, testRepositories+"create/", n)
}

// EditTestRepository changes a test repository, and has it scanned.
func (c *Client) EditTestRepository(ctx context.Context, id int64, n NewTestRepository) (Doc[TestRepository], error) {
	return send[TestRepository](ctx, c, http.MethodPatch, testRepository(id), n)
}

// ScanTestRepository has a test repository looked at now.
func (c *Client) ScanTestRepository(ctx context.Context, id int64) (Doc[TestRepository], error) {
	return send[TestRepository](ctx, c, http.MethodPost, testRepository(id)+"scan/", nil)
}

// RemoveTestRepository removes a test repository with its mappings.
func (c *Client) RemoveTestRepository(ctx context.Context, id int64) error {
	return c.Send(ctx, http.MethodDelete, testRepository(id)+"remove/", nil, nil)
}

// MapTests maps packages to folders, all or none, and returns how many are new.
func (c *Client) MapTests(ctx context.Context, id int64, all []TestMapping) (Doc[struct {
	Added int `json:"added"`
}], error) {
	return send[struct {
		Added int `json:"added"`
	}](ctx, c, http.MethodPost, testRepository(id)+"packages/bulk_create/", all)
}

// UnmapTests removes mappings by their ids.
func (c *Client) UnmapTests(ctx context.Context, id int64, mappings []int64) error {
	return c.Send(ctx, http.MethodPost, testRepository(id)+"packages/bulk_remove/", mappings, nil)
}
