package netd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ensureVeth makes a pair with one end on the host and the other in ns, or finds and corrects it. It returns the index
// inside ns, and fresh if the pair was made now.
func (d *linux) ensureVeth(ns *namespace, w vethWish, m mark, master int) (index int, fresh bool, err error) {
	err = d.rt.with(func(c *conn) error {
		if !ns.fresh {
			if index, err = d.adoptVeth(c, ns, w, m, master); err != nil || index != 0 {
				return err
			}
		}
		fresh = true
		for range 2 {
			errs, err := c.do(newVeth(w), setLink(w.name, m, master))
			if err != nil {
				return err
			}
			if errors.Is(errs[0], unix.EEXIST) {
				if err := d.makeRoom(c, w.name); err != nil {
					return err
				}
				continue
			}
			if err := errors.Join(errs...); err != nil {
				return fmt.Errorf("make interface pair %s: %w", w.name, err)
			}
			return nil
		}
		return fmt.Errorf("interface %s comes back each time it is removed: is another daemon using instance %s?", w.name, d.o.Instance)
	})
	if err != nil || index != 0 {
		return index, false, err
	}
	d.step("veth")
	index, _, err = ns.nl.get(w.peer)
	if err == nil && index == 0 {
		err = fmt.Errorf("interface %s vanished: was its namespace removed meanwhile?", w.peer)
	}
	return index, fresh, err
}

// adoptVeth finds a pair that was made before; 0 means that there is none, and that its remains were removed.
func (d *linux) adoptVeth(c *conn, ns *namespace, w vethWish, m mark, master int) (int, error) {
	h, err := ns.inside()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	in, err := byName(h)
	if err != nil {
		return 0, err
	}
	x := in[w.peer]
	if x == nil {
		return 0, nil
	}
	host, _, err := c.get(w.name)
	if err != nil {
		return 0, err
	}
	if host != 0 && x.Attrs().ParentIndex == host {
		if err := c.must(setLink(w.name, m, master)); err != nil {
			return 0, fmt.Errorf("correct interface %s: %w", w.name, err)
		}
		return x.Attrs().Index, nil
	}
	if err := h.LinkDel(x); err != nil {
		return 0, fmt.Errorf("remove %s, whose other end is lost: %w", w.peer, err)
	}
	return 0, nil
}

// makeRoom gets an old link of ours out of the way: the removal of a namespace is asynchronous, so the link of a jail's
// former start may still be there. Renaming is instant, removing is not.
func (d *linux) makeRoom(c *conn, name string) error {
	index, alias, err := c.get(name)
	if err != nil || index == 0 {
		return err
	}
	m, ok := parseMark(alias)
	if !ok || m.Instance != d.o.Instance {
		return fmt.Errorf("interface %s exists and is not ours (alias %q): remove it", name, alias)
	}
	gone := fmt.Sprintf("%s%08x0", prefixGone, index)
	errs, err := c.do(renameLink(index, gone, mark{Instance: d.o.Instance, Network: m.Network, Jail: markGone}))
	switch {
	case err != nil:
		return err
	case errs[0] == nil:
		d.reaper.add(doomed{index: index})
	case errors.Is(errs[0], unix.ENODEV):
	default: // kernels before 6.2 rename no interface that is up
		return d.deleteLinks([]int{index})
	}
	return nil
}

// trim removes interfaces from a jail's namespace that c does not name.
func (d *linux) trim(ns *namespace, c NSConfig) error {
	h, err := ns.inside()
	if err != nil {
		return err
	}
	defer h.Close()
	in, err := byName(h)
	if err != nil {
		return err
	}
	for name, x := range in {
		keep := slices.ContainsFunc(c.Ports, func(p Port) bool { return name == "eth"+strconv.Itoa(p.NIC) })
		if keep || !strings.HasPrefix(name, "eth") {
			continue
		}
		if err := h.LinkDel(x); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
