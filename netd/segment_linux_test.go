package netd

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vlans is two hosts whose NICs carry VLAN 7. This kernel may have no VLANs, so that what 802.1Q would make of the NICs
// is a cable of its own here: what netd does with it is the same.
func vlans(t *testing.T) (w [2]*world, d [2]*linux) {
	t.Helper()
	w = [2]*world{newWorld(t), newWorld(t)}
	for i, w := range w {
		d[i] = w.driver("t1")
		d[i].addVLAN = func(trunk netlink.Link, name string, id, _ int) error {
			if trunk.Attrs().Name != "eth0" || id != 7 {
				return fmt.Errorf("asked for vlan %d of %s", id, trunk.Attrs().Name)
			}
			x, err := d[i].host.LinkByName("seven")
			if err != nil {
				return err
			}
			return errors.Join(d[i].host.LinkSetDown(x), d[i].host.LinkSetName(x, name))
		}
	}
	// After the drivers, which compare the host with what it was before them: the cable goes with the segment.
	w[0].link(w[0].host, "seven", "192.0.3.1/24", w[1].host, "seven", "192.0.3.2/24")
	return w, d
}

func vlanA() Network {
	n := netA()
	n.VLAN = 7
	return n
}

func TestVLANCarriesANetworkAndEachHostKeepsItsRouter(t *testing.T) {
	t.Parallel()
	w, d := vlans(t)
	n := vlanA()
	n.Subnet6 = mustPrefix("fd00:66::/64")
	var jails [2]string
	for i := range d {
		if err := d[i].Set(t.Context(), Config{Networks: []Network{n}, Trunk: "eth0"}); err != nil {
			t.Fatal(err)
		}
		jails[i] = mustAttach(t, d[i], jailWish(fmt.Sprintf("1111111%d", i), "alpha", fmt.Sprintf("10.66.0.%d", 3+i)))
		w[i].serve(jails[i], fmt.Sprintf("10.66.0.%d:80", 3+i), fmt.Sprint("jail ", i))
		r, err := d[i].RouterNS("alpha")
		if err != nil {
			t.Fatal(err)
		}
		w[i].serve(r, "10.66.0.1:80", fmt.Sprint("router ", i))
	}
	wantAnswer(t, w[0].ask(jails[0], "10.66.0.4:80"), "jail 1 10.66.0.3")
	wantAnswer(t, w[1].ask(jails[1], "10.66.0.3:80"), "jail 0 10.66.0.4")
	for i := range d {
		for range 3 {
			wantAnswer(t, w[i].ask(jails[i], "10.66.0.1:80"), fmt.Sprintf("router %d 10.66.0.%d", i, 3+i))
			wantAnswer(t, w[i].ask(w[i].host, fmt.Sprintf("10.66.0.%d:80", 3+i)), fmt.Sprintf("jail %d 10.66.0.2", i))
		}
	}
	// No longer on the VLAN: the segment goes, and with it the way.
	if err := d[0].Set(t.Context(), Config{Networks: []Network{netA()}}); err != nil {
		t.Fatal(err)
	}
	w[0].wantNoAnswer(jails[0], "10.66.0.4:80")
}

func TestVLANNeedsItsNIC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	for _, trunk := range []string{"", "em9"} {
		err := d.Set(t.Context(), Config{Networks: []Network{vlanA(), netB()}, Trunk: trunk})
		var failed *NetworkError
		if !errors.As(err, &failed) || failed.Network != "alpha" {
			t.Errorf("with the NIC %q: %v", trunk, err)
		}
		mustAttach(t, d, jailWish("22222222", "beta", "10.67.0.3"))
	}
}

// TestVLANOfTheKernel makes a real one where the kernel can.
func TestVLANOfTheKernel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	err := d.Set(t.Context(), Config{Networks: []Network{vlanA()}, Trunk: "eth0"})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Log("this kernel has no VLANs, and says so: ", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	x, err := d.host.LinkByName(segmentName("aaaa0001"))
	if v, ok := x.(*netlink.Vlan); err != nil || !ok || v.VlanId != 7 {
		t.Fatalf("the segment is %v (%v)", x, err)
	}
}
