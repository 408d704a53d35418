package hostagent

import (
	"context"
	"testing"

	"github.com/rexcarcer/rexcarcer/netd"
)

func TestANetworkThatIsAboutToGoIsNotReady(t *testing.T) {
	t.Parallel()
	n, err := newNetworks(&Agent{})
	if err != nil {
		t.Fatal(err)
	}
	both := netd.Config{Networks: []netd.Network{{Name: "front"}, {Name: "back"}}}
	n.publish(both, map[string]error{})
	n.retire(netd.Config{Networks: both.Networks[:1]})
	if err := n.await(t.Context(), []string{"front"}); err != nil {
		t.Errorf("front stays, but: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.await(ended, []string{"back"}); err == nil {
		t.Error("back is about to go, and was still called ready")
	}
}
