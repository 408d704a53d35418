package hostagent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver of host.db; no cgo

	"github.com/rexcarcer/rexcarcer/fsm"
)

// hostDB is host.db: what this host has realized, written before and after
// each step. One row a jail.
type hostDB struct{ db *sql.DB }

// row is what the host has of one jail.
type row struct {
	UUID  string
	Name  fsm.JailName
	Wish  string
	Seq   uint64
	Stage Stage
	Step  string // being done right now; "" when the agent is at rest
	Image string // what the root was made for, see rootOf; "" is no root
	NetNS string
	IDs   uint32 // first host id of its user namespace; 0 is none
	Nets  string // networks it is attached to, comma separated
}

const schema = `
create table if not exists jails (
	uuid text primary key, name text not null, wish text not null default '', seq integer not null, stage integer not null,
	step text not null, image text not null, netns text not null, ids integer not null, nets text not null
) strict, without rowid;
create table if not exists started (
	uuid text primary key, hash text not null
) strict, without rowid;
create table if not exists ranges (
	uuid text primary key, slot integer not null unique
) strict, without rowid;
`

// openHostDB opens path. Its durability is that of a process, not of the
// machine: after a power cut nothing of what it names is left but datasets,
// which the store lists by itself.
func openHostDB(dir string) (*hostDB, error) {
	dsn := "file:" + url.PathEscape(filepath.Join(dir, "host.db")) +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=wal_autocheckpoint(4000)&_pragma=busy_timeout(5000)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open host.db: %w", err)
	}
	db.SetMaxOpenConns(1) // one writer; readers are few
	if _, err := db.ExecContext(context.Background(), schema+moveSchema); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w: move it away and restart; running jails are then stopped and started anew",
			filepath.Join(dir, "host.db"), err), db.Close())
	}
	return &hostDB{db}, nil
}

func (h *hostDB) close() error { return h.db.Close() }

func (h *hostDB) put(ctx context.Context, r row) error {
	_, err := h.db.ExecContext(ctx, `insert into jails(uuid,name,wish,seq,stage,step,image,netns,ids,nets) values(?,?,?,?,?,?,?,?,?,?)
		on conflict(uuid) do update set name=excluded.name, wish=excluded.wish, seq=excluded.seq, stage=excluded.stage, step=excluded.step,
		image=excluded.image, netns=excluded.netns, ids=excluded.ids, nets=excluded.nets`,
		r.UUID, string(r.Name), r.Wish, int64(r.Seq), int(r.Stage), r.Step, r.Image, r.NetNS, int64(r.IDs), r.Nets)
	if err != nil {
		return fmt.Errorf("host.db: record jail %s: %w", r.Name, err)
	}
	return nil
}

// started records with what (fsm.Run.Hash) a jail was started last.
func (h *hostDB) started(ctx context.Context, uuid, hash string) error {
	_, err := h.db.ExecContext(ctx, `insert into started(uuid,hash) values(?,?) on conflict(uuid) do update set hash=excluded.hash`, uuid, hash)
	if err != nil {
		return fmt.Errorf("host.db: record the start of %s: %w", uuid, err)
	}
	return nil
}

// lastStarted is what started recorded, "" for a jail that never was.
func (h *hostDB) lastStarted(ctx context.Context, uuid string) (hash string, err error) {
	err = h.db.QueryRowContext(ctx, `select hash from started where uuid=?`, uuid).Scan(&hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("host.db: last start of %s: %w", uuid, err)
	}
	return hash, nil
}

func (h *hostDB) all(ctx context.Context) (rows []row, err error) {
	rs, err := h.db.QueryContext(ctx, `select uuid,name,wish,seq,stage,step,image,netns,ids,nets from jails order by name`)
	if err != nil {
		return nil, fmt.Errorf("host.db: %w", err)
	}
	defer func() { err = errors.Join(err, rs.Close()) }()
	for rs.Next() {
		var r row
		var seq, ids int64
		if err := rs.Scan(&r.UUID, &r.Name, &r.Wish, &seq, &r.Stage, &r.Step, &r.Image, &r.NetNS, &ids, &r.Nets); err != nil {
			return nil, fmt.Errorf("host.db: %w", err)
		}
		r.Seq, r.IDs = uint64(seq), uint32(ids)
		rows = append(rows, r)
	}
	return rows, rs.Err()
}

func (h *hostDB) remove(ctx context.Context, uuid string) error {
	if _, err := h.db.ExecContext(ctx, `delete from jails where uuid=?`, uuid); err != nil {
		return fmt.Errorf("host.db: %w", err)
	}
	if _, err := h.db.ExecContext(ctx, `delete from started where uuid=?`, uuid); err != nil {
		return fmt.Errorf("host.db: %w", err)
	}
	if _, err := h.db.ExecContext(ctx, `delete from ranges where uuid=?`, uuid); err != nil {
		return fmt.Errorf("host.db: %w", err)
	}
	return nil
}

// Ranges of user ids: slot n is firstID + n*idsPerJail, far above what
// /etc/subuid gives to people.
const (
	firstID    = 1 << 30
	idsPerJail = 1 << 16
	maxSlots   = 1 << 14
)

// idRange gives uuid a range of user ids of its own, the same one until remove.
func (h *hostDB) idRange(ctx context.Context, uuid string) (first uint32, err error) {
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("host.db: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var slot int64
	err = tx.QueryRowContext(ctx, `select slot from ranges where uuid=?`, uuid).Scan(&slot)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, `select case when not exists(select 1 from ranges where slot=0) then 0 else
			(select min(r.slot)+1 from ranges r where not exists(select 1 from ranges n where n.slot=r.slot+1)) end`).Scan(&slot)
		if err == nil && slot >= maxSlots {
			return 0, fmt.Errorf("all %d ranges of user ids are taken on this host", maxSlots)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `insert into ranges(uuid,slot) values(?,?)`, uuid, slot)
		}
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return 0, fmt.Errorf("host.db: id range of %s: %w", uuid, err)
	}
	return firstID + uint32(slot)*idsPerJail, nil
}
