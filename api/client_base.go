package api

import (
	"context"
	"io"
	"net/url"
)

// Bases lists what references to bases are pinned to.
func (c *Client) Bases(ctx context.Context) ([]BaseRow, error) {
	return only(get[[]BaseRow](ctx, c, "/v1/bases"))
}

// PinBase asks what a reference to a base means.
func (c *Client) PinBase(ctx context.Context, r PinRequest) (PinResult, error) {
	var out PinResult
	_, err := c.call(ctx, "POST", "/v1/bases/pin", nil, 0, r, &out)
	return out, err
}

// UnpinBase forgets what a reference means.
func (c *Client) UnpinBase(ctx context.Context, ref string) error {
	_, err := c.call(ctx, "DELETE", "/v1/bases", url.Values{"ref": {ref}}, 0, nil, nil)
	return err
}

// Signers lists whose signatures count.
func (c *Client) Signers(ctx context.Context) ([]SignerRow, error) {
	return only(get[[]SignerRow](ctx, c, "/v1/signers"))
}

// TrustSigner makes a certificate's signatures count.
func (c *Client) TrustSigner(ctx context.Context, pem string) (SignerRow, error) {
	var out SignerRow
	_, err := c.call(ctx, "POST", "/v1/signers", nil, 0, SignerRequest{pem}, &out)
	return out, err
}

// UntrustSigner takes that back.
func (c *Client) UntrustSigner(ctx context.Context, fingerprint string) error {
	_, err := c.call(ctx, "DELETE", "/v1/signers/"+url.PathEscape(fingerprint), nil, 0, nil, nil)
	return err
}

// Image shows one image name and what it is made of.
func (c *Client) Image(ctx context.Context, name string) (ImageShow, error) {
	return only(get[ImageShow](ctx, c, "/v1/images/"+url.PathEscape(name)))
}

// ExportImage opens the root file system of an image, packed by zstd. format is tar, zfs, or "" for that of the host's
// storage; the one that was taken is returned. The caller closes the body.
func (c *Client) ExportImage(ctx context.Context, name, format string) (body io.ReadCloser, taken string, err error) {
	q := url.Values{}
	if format != "" {
		q.Set("format", format)
	}
	req, err := c.request(ctx, "GET", "/v1/images/"+url.PathEscape(name)+"/export", q, nil)
	if err != nil {
		return nil, "", err
	}
	res, err := c.send(req)
	if err != nil {
		return nil, "", err
	}
	return res.Body, res.Header.Get(formatHeader), nil
}
