// Package zfssync keeps what jails are made of: image layers, the root file system of each jail, and volumes.
//
// One interface, Store, has one driver per storage system. Overlay (overlay_linux.go) needs nothing but a directory; ZFS
// (zfs.go) keeps everything in datasets. Package storetest holds what both have to pass.
//
// Laws:
//
//   - A layer is immutable once it has its name. It is made in staging/ and renamed into layers/: that rename is the
//     commit point, and whatever kill -9 leaves in staging/ is nobody's and is swept.
//   - A layer's name is the digest of its inputs, which the caller hands in. Two makers of one layer do no harm: the
//     second one finds the name taken, and drops its own.
//   - Everything is idempotent. Cloning a clone, unmounting what is not mounted, destroying what is gone: success.
//   - Files are stored with the ids that they have inside the jail (root is 0 on disk). The id range of a jail is put on
//     by an id-mapped mount when it is cloned, so every jail has a range of its own above shared layers.
//   - Whatever comes from outside (tarballs, build contexts) is written beneath an os.Root and never through a link.
//   - Removing means: unmount, rename into trash/, delete. A crash in between is finished by the next Sweep.
//
// Flow: Base makes the lowest layer, BeginStep ... Commit one layer above another, PutImage names the top one as an
// image, Clone mounts a writable view of an image for a jail, Bind puts a volume beside it, Destroy takes it away.
//
// Layout below the data directory:
//
//	layers/<digest>/{fs,layer.json}       committed layers
//	images/<digest>.json                  what an image is: its top layer, environment, command
//	jails/<uuid>/{clone.json,root}        root is where the jail's view is mounted
//	jails/<uuid>/rw/{upper,work}          what the jail has written; 0700, because a jail may make setuid files
//	jails/<uuid>/vol/<name>               volumes as that jail sees them
//	volumes/<id>/{data,volume.json}       with a quota {disk,mnt,volume.json}: a file system in a file, and where it is mounted
//	staging/, trash/                      half-made and half-removed things
package zfssync
