package api

import (
	"context"
	"fmt"
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

// ExportImage copies the root file system of an image, a tar packed by zstd, to w and returns its size in bytes.
func (c *Client) ExportImage(ctx context.Context, name string, w io.Writer) (int64, error) {
	path := "/v1/images/" + url.PathEscape(name) + "/export"
	req, err := c.request(ctx, "GET", path, nil, nil)
	if err != nil {
		return 0, err
	}
	res, err := c.send(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(w, res.Body)
	if err != nil {
		return n, fmt.Errorf("export image %s: %w", name, err)
	}
	return n, nil
}
