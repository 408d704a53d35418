#!/bin/sh
# up.sh DIR BASE BRIDGE GATEWAY ID ADDRESS RUNTIME STATE: what people write who start
# one container by hand. `down` as $9 also takes it down again.
set -e
dir=$1 base=$2 bridge=$3 gateway=$4 id=$5 address=$6 runtime=$7 state=$8
c=$dir/$id
mkdir -p "$c/upper" "$c/work" "$c/rootfs"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$c/upper,workdir=$c/work" "$c/rootfs"
ip netns add "$id"
ip link add "v$id" type veth peer name eth0 netns "$id"
ip link set "v$id" master "$bridge" up
ip -n "$id" link set lo up
ip -n "$id" address add "$address/16" dev eth0
ip -n "$id" link set eth0 up
ip -n "$id" route add default via "$gateway"
sed "s|@NETNS@|/var/run/netns/$id|" "$dir/config.json" >"$c/config.json"
"$runtime" --root "$state" run --detach --bundle "$c" "$id" </dev/null >/dev/null 2>&1
[ "$9" = down ] || exit 0
"$runtime" --root "$state" delete --force "$id"
ip link delete "v$id"
ip netns delete "$id"
umount "$c/rootfs"
rm -rf "$c"
