package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
)

// CAs tells which CAs are trusted.
func (c *Client) CAs(ctx context.Context) (CAView, error) {
	return only(get[CAView](ctx, c, "/v1/ca"))
}

// RotateCA makes another CA.
func (c *Client) RotateCA(ctx context.Context, in CARotation) (Applied, error) {
	return post[Applied](ctx, c, "/v1/ca/rotate", in)
}

// RequestCA is a CSR in PEM for the CA id; "" is the one to come, or that signs.
func (c *Client) RequestCA(ctx context.Context, id string) (string, error) {
	out, err := post[CARequest](ctx, c, "/v1/ca/csr", CARequest{ID: id})
	return out.CSR, err
}

// ImportCA brings what the operator's CA made of the CSR.
func (c *Client) ImportCA(ctx context.Context, chainPEM string) (Applied, error) {
	return post[Applied](ctx, c, "/v1/ca/import", CASigned{Chain: chainPEM})
}

// RetireCA ends the trust in a CA that does not sign.
func (c *Client) RetireCA(ctx context.Context, id string) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "DELETE", "/v1/ca/"+url.PathEscape(id), nil, 0, nil, &out)
	return out, err
}

// SealCA encrypts the host's keys of CAs; an empty passphrase undoes that.
func (c *Client) SealCA(ctx context.Context, passphrase string) (CAView, error) {
	return post[CAView](ctx, c, "/v1/ca/seal", CAPassphrase{passphrase})
}

// UnlockCA opens the host's sealed keys.
func (c *Client) UnlockCA(ctx context.Context, passphrase string) (CAView, error) {
	return post[CAView](ctx, c, "/v1/ca/unlock", CAPassphrase{passphrase})
}

// Revoke has a certificate refused.
func (c *Client) Revoke(ctx context.Context, in Revocation) (Applied, error) {
	return post[Applied](ctx, c, "/v1/revoked", in)
}

// Revoked lists what is refused.
func (c *Client) Revoked(ctx context.Context) ([]RevokedRow, error) {
	return only(get[[]RevokedRow](ctx, c, "/v1/revoked"))
}

// RotateGossip encrypts gossip under another key.
func (c *Client) RotateGossip(ctx context.Context) (Applied, error) {
	return post[Applied](ctx, c, "/v1/gossip/rotate", nil)
}

func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	_, err := c.call(ctx, "POST", path, nil, 0, in, &out)
	return out, err
}

// SaveSnapshot copies the State's file to w, checking it on the way. With
// stale it is what the host that is asked has, whatever the others have.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer, stale bool) (SnapshotInfo, error) {
	q := url.Values{}
	if stale {
		q.Set("stale", "true")
	}
	req, err := c.request(ctx, "GET", "/v1/snapshot", q, nil)
	if err != nil {
		return SnapshotInfo{}, err
	}
	res, err := c.send(req)
	if err != nil {
		return SnapshotInfo{}, err
	}
	defer func() { _ = res.Body.Close() }()
	return ReadSnapshot(io.TeeReader(res.Body, w), io.Discard)
}

// RestoreSnapshot makes what a file declares the truth.
func (c *Client) RestoreSnapshot(ctx context.Context, file io.Reader, foreign bool) (Restored, error) {
	q := url.Values{}
	if foreign {
		q.Set("foreign", "true")
	}
	var out Restored
	req, err := c.request(ctx, "PUT", "/v1/snapshot", q, file)
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", snapshotMedia)
	res, err := c.send(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("restore: the answer is not what was expected: %w", err)
	}
	return out, nil
}
