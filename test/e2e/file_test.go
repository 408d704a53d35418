//go:build linux

package e2e

import (
	"fmt"
	"strings"
)

// file begins a cluster file: name, one network of that name with this
// subnet, and the busybox image under a name of its own, for a name belongs to one file.
func file(name, subnet string, body ...string) string {
	return fmt.Sprintf("cluster %q { domain = \"rex.internal\" }\nnetwork %q { subnet = %q }\nimage \"box-%s\" { base = %q }\n", name, name, subnet, name, base) +
		strings.Join(body, "\n")
}

// box is a jail of the busybox image that runs a shell script, with more
// attributes and blocks as they are.
func box(name, network, script string, more ...string) string {
	return fmt.Sprintf("jail %q {\n  image = \"box-%s\"\n  network = %q\n  stop_timeout = \"1s\"\n  command = [\"/bin/sh\", \"-c\", %q]\n%s\n}\n",
		name, network, network, strings.ReplaceAll(script, "${", "$${"), strings.Join(more, "\n"))
}

// forever is a script that ends at once when it is told to.
const forever = `trap "exit 0" TERM; while :; do sleep 1000 & wait; done`

// web serves the jail's name on port 80; the jail goes on when the server is killed.
const web = `mkdir -p /tmp/www; echo $RC_JAIL >/tmp/www/index.html; httpd -p 80 -h /tmp/www; ` + forever

func service(name, interval string) string {
	return fmt.Sprintf("service %q {\n port = 80\n check {\n type = \"tcp\"\n interval = %q\n failures = 2\n }\n}", name, interval)
}
