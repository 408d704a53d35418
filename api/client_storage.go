package api

import "context"

// CollectImages removes images and layers of the host that nobody needs.
func (c *Client) CollectImages(ctx context.Context, r GCRequest) (GCResult, error) {
	var out GCResult
	_, err := c.call(ctx, "POST", "/v1/images/gc", nil, 0, r, &out)
	return out, err
}
