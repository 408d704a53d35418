package api

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// MoveJail moves a jail with its volumes.
func (c *Client) MoveJail(ctx context.Context, name string, in MoveRequest) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "POST", "/v1/jails/"+url.PathEscape(name)+"/move", nil, 0, in, &out)
	return out, err
}

// MoveVolume moves a volume that no jail declares.
func (c *Client) MoveVolume(ctx context.Context, name string, in MoveRequest) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "POST", volumePath(name)+"/move", nil, 0, in, &out)
	return out, err
}

// CancelMove gives up the move of a jail, or of a volume.
func (c *Client) CancelMove(ctx context.Context, name string, volume bool) (Applied, error) {
	path := "/v1/jails/" + url.PathEscape(name)
	if volume {
		path = volumePath(name)
	}
	var out Applied
	_, err := c.call(ctx, "DELETE", path+"/move", nil, 0, nil, &out)
	return out, err
}

// Moves lists moves, of one object if that is not "". With index it answers
// once the log is past it, or after wait; the second result is the index of
// the answer.
func (c *Client) Moves(ctx context.Context, object string, index uint64, wait time.Duration) ([]MoveRow, uint64, error) {
	kv := []string{"object", object}
	if index > 0 {
		kv = append(kv, "index", strconv.FormatUint(index, 10), "wait", wait.String())
	}
	return get[[]MoveRow](ctx, c, "/v1/moves", kv...)
}

// VolumeHomes says which host has which volume.
func (c *Client) VolumeHomes(ctx context.Context) ([]VolumeHome, error) {
	return only(get[[]VolumeHome](ctx, c, "/v1/volume-homes"))
}
