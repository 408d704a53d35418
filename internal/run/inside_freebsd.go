package run

import "syscall"

// inside lets the child attach to the jail, and then become that user, before it executes: jail_attach(2) in the parent would be
// for all of it, and for ever.
func inside(in *Inside, attr *syscall.SysProcAttr) error {
	attr.Jail = in.JID
	// Before 15 the first group is the effective one, which setgid(2) sets again (setgroups(2)).
	groups := append([]uint32{in.GID}, in.Groups...)
	attr.Credential = &syscall.Credential{Uid: in.UID, Gid: in.GID, Groups: groups}
	return nil
}
