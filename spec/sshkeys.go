package spec

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// MaxSSHKeys of one Wish.
const MaxSSHKeys = 1000

// maxSSHKeyBytes: an RSA key of 16384 bits takes 2.8 KB.
const maxSSHKeyBytes = 8 << 10

// sshKeyTypes are those that sshd takes today (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
var sshKeyTypes = []string{
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// ValidSSHKey checks a public key as it stands in authorized_keys: type, base64
// and perhaps a comment. Options before it (command="...") are refused.
func ValidSSHKey(s string) error {
	if len(s) > maxSSHKeyBytes {
		return fmt.Errorf("the key has %d bytes, %d are the most", len(s), maxSSHKeyBytes)
	}
	if !cleanText(s) {
		return fmt.Errorf("the key %q has control characters in it: it is one line", clip(s))
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	if !slices.Contains(sshKeyTypes, kind) {
		return fmt.Errorf("%q does not begin with the type of a public key, such as ssh-ed25519", clip(s))
	}
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	blob, err := base64.StdEncoding.DecodeString(text)
	// The blob begins with the length and text of its type (RFC 4253 section 6.6).
	if err != nil || len(blob) < 4+len(kind)+32 || string(blob[4:4+len(kind)]) != kind {
		return fmt.Errorf("the key %q is damaged: copy the whole line of the .pub file", clip(s))
	}
	return nil
}

func (c *checker) checkSSHKeys() {
	if n := len(c.w.SSHKeys); n > MaxSSHKeys {
		c.bad("cluster/ssh_keys", "", "ssh_keys: %d keys, %d are the most", n, MaxSSHKeys)
		return
	}
	for _, k := range c.w.SSHKeys {
		c.err("cluster/ssh_keys", "ssh_keys", ValidSSHKey(k))
	}
}
