package hostagent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Which volumes of this host were brought by which move: others of the same
// name are not overwritten, and not removed when the move fails.
const moveSchema = `
create table if not exists moving (
	volume text primary key, move integer not null
) strict, without rowid;
`

func (h *hostDB) claim(ctx context.Context, volume string, move uint64) error {
	_, err := h.db.ExecContext(ctx, `insert into moving(volume,move) values(?,?) on conflict(volume) do update set move=excluded.move`, volume, int64(move))
	if err != nil {
		return fmt.Errorf("host.db: claim volume %s: %w", volume, err)
	}
	return nil
}

// claimOf is the move that a volume was claimed for, 0 if there is none.
func (h *hostDB) claimOf(ctx context.Context, volume string) (uint64, error) {
	var move int64
	err := h.db.QueryRowContext(ctx, `select move from moving where volume=?`, volume).Scan(&move)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("host.db: who claims volume %s: %w", volume, err)
	}
	return uint64(move), nil
}

func (h *hostDB) unclaim(ctx context.Context, move uint64) error {
	if _, err := h.db.ExecContext(ctx, `delete from moving where move=?`, int64(move)); err != nil {
		return fmt.Errorf("host.db: end of move %d: %w", move, err)
	}
	return nil
}
