package api

import (
	"context"
	"net/url"
)

// CollectImages removes images and layers of the host that nobody needs.
func (c *Client) CollectImages(ctx context.Context, r GCRequest) (GCResult, error) {
	var out GCResult
	_, err := c.call(ctx, "POST", "/v1/images/gc", nil, 0, r, &out)
	return out, err
}

func volumePath(name string) string { return "/v1/volumes/" + url.PathEscape(name) }

// Volumes lists volumes.
func (c *Client) Volumes(ctx context.Context) ([]VolumeRow, error) {
	return only(get[[]VolumeRow](ctx, c, "/v1/volumes"))
}

// Volume shows one volume.
func (c *Client) Volume(ctx context.Context, name string) (VolumeShow, error) {
	return only(get[VolumeShow](ctx, c, volumePath(name)))
}

// SnapshotVolume makes a snapshot of a volume.
func (c *Client) SnapshotVolume(ctx context.Context, name, snapshot string) (VolumeSnapshot, error) {
	var out VolumeSnapshot
	_, err := c.call(ctx, "PUT", volumePath(name)+"/snapshots/"+url.PathEscape(snapshot), nil, 0, nil, &out)
	return out, err
}

// DropVolumeSnapshot removes a snapshot of a volume.
func (c *Client) DropVolumeSnapshot(ctx context.Context, name, snapshot string) (VolumeShow, error) {
	var out VolumeShow
	_, err := c.call(ctx, "DELETE", volumePath(name)+"/snapshots/"+url.PathEscape(snapshot), nil, 0, nil, &out)
	return out, err
}

// RollbackVolume makes a volume what it was at a snapshot.
func (c *Client) RollbackVolume(ctx context.Context, name string, r RollbackRequest) (VolumeShow, error) {
	var out VolumeShow
	_, err := c.call(ctx, "POST", volumePath(name)+"/rollback", nil, 0, r, &out)
	return out, err
}

// RemoveVolume removes a volume with its snapshots.
func (c *Client) RemoveVolume(ctx context.Context, name string) (VolumeRow, error) {
	var out VolumeRow
	_, err := c.call(ctx, "DELETE", volumePath(name), nil, 0, nil, &out)
	return out, err
}
