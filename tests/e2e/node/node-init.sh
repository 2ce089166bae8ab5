#!/bin/bash
# The first process of a node in namespaces of its own: gives it a host name, its own view of
# mounts, processes and cgroups, an address on a bridge, and reaps what it is left with.
# With "none" for an address it has no network card at all, and the loopback link is down.
# What CNI writes down lies in a folder of its own, which lasts as long as the node's other files.
# Usage: node-init.sh NAME ADDRESS/BITS|none FOLDER ; prints "ready" when the node stands.
set -e
hostname "$1"
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=755,size=256m tmpfs /run
mkdir -p /run/netns /run/lock /run/containerd
mkdir -p "$3/cni-records" /var/lib/cni
mount --bind "$3/cni-records" /var/lib/cni
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
if mountpoint -q /sys/fs/cgroup; then umount -R /sys/fs/cgroup; fi
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$c"
  mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
sysctl -qw net.ipv4.ip_forward=1
if [ "$2" = none ]; then
  echo ready
  while :; do wait -n 2>/dev/null || sleep 0.2; done
fi
ip link set lo up
# A machine keeps its hardware address: neighbours that remember it find it again after a crash.
mac=$(printf '02:00:%02x:%02x:%02x:%02x' $(echo "${2%/*}" | tr . ' '))
ip link add uplink address "$mac" type bridge
ip address add "$2" dev uplink
ip link set uplink up
ip route add default dev uplink
echo ready
while :; do wait -n 2>/dev/null || sleep 0.2; done
