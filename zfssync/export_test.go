package zfssync

// CopyHostFrom makes a ZFS store take another directory for the host's root.
func CopyHostFrom(s Store, dir string) { s.(*ZFS).host = dir }
