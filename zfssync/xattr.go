package zfssync

import "strings"

// Attributes with a meaning here, see xattr(7) and the kernel's overlayfs documentation.
const (
	capabilityXattr = "security.capability"
	opaqueXattr     = "trusted.overlay.opaque"
)

// keptXattr says which attributes a stream of ours carries. Others of overlayfs would be orders to the kernel
// (redirects, metacopy), which our mounts do not make.
func keptXattr(name string) bool {
	return name == capabilityXattr || name == opaqueXattr || strings.HasPrefix(name, "user.")
}
