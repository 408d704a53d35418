package zfssync

import (
	"errors"
	"os"
	"path/filepath"
)

// head is the snapshot from which the live directory has to be made anew before it is used; "" when it is as it should be.
// One that is not there, or no longer, means nothing: whoever wrote it died before, or after, it meant something.
func (o *Overlay) head(obj Object) (string, error) {
	var rec struct {
		Head string `json:"head"`
	}
	err := readJSON(o.recordFile(obj), &rec)
	if errors.Is(err, ErrNotFound) || err == nil && rec.Head == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	_, err = os.Stat(filepath.Join(o.snap(obj, rec.Head), "data"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return rec.Head, err
}

func (o *Overlay) recordFile(obj Object) string {
	if obj.Kind == KindJail {
		return filepath.Join(o.jail(obj.Name), "clone.json")
	}
	return filepath.Join(o.objectDir(obj), "volume.json")
}

func (o *Overlay) setHead(obj Object, name string) error {
	if obj.Kind == KindJail {
		var rec cloneRecord
		if err := readJSON(o.recordFile(obj), &rec); err != nil {
			return err
		}
		rec.Head = name
		return writeJSON(o.recordFile(obj), rec, true)
	}
	var rec volumeRecord
	if err := readJSON(o.recordFile(obj), &rec); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	rec.Head = name
	return writeJSON(o.recordFile(obj), rec, true)
}
