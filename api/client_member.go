package api

import (
	"context"
	"net/url"
)

// CreateToken makes a join token.
func (c *Client) CreateToken(ctx context.Context, in TokenRequest) (TokenMade, error) {
	var out TokenMade
	_, err := c.call(ctx, "POST", "/v1/tokens", nil, 0, in, &out)
	return out, err
}

// Tokens lists tokens.
func (c *Client) Tokens(ctx context.Context) ([]TokenRow, error) {
	return only(get[[]TokenRow](ctx, c, "/v1/tokens"))
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "DELETE", "/v1/tokens/"+url.PathEscape(id), nil, 0, nil, &out)
	return out, err
}

// DrainHost moves the jails of a host away; with undo it takes jails again.
func (c *Client) DrainHost(ctx context.Context, name string, undo bool) (Applied, error) {
	verb := "/drain"
	if undo {
		verb = "/undrain"
	}
	var out Applied
	_, err := c.call(ctx, "POST", "/v1/hosts/"+url.PathEscape(name)+verb, nil, 0, nil, &out)
	return out, err
}

// LabelHost changes labels of a host.
func (c *Client) LabelHost(ctx context.Context, name string, in HostLabels) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "POST", "/v1/hosts/"+url.PathEscape(name)+"/labels", nil, 0, in, &out)
	return out, err
}

// RekeyHost lets a host make itself a new key for the overlay.
func (c *Client) RekeyHost(ctx context.Context, name string) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "POST", "/v1/hosts/"+url.PathEscape(name)+"/rekey", nil, 0, nil, &out)
	return out, err
}

// RemoveHost takes a host out of the cluster for good.
func (c *Client) RemoveHost(ctx context.Context, name string, force bool) (Applied, error) {
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	var out Applied
	_, err := c.call(ctx, "DELETE", "/v1/hosts/"+url.PathEscape(name), q, 0, nil, &out)
	return out, err
}
