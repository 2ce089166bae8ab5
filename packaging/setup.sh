#!/usr/bin/env bash
# Install the Debian packages that building, running and testing need, where they are missing.
# Asks dpkg alone when all are there (20 ms), so that `make` can call it every time.
set -euo pipefail

packages=(
  python3-venv                       # the virtual environment
  containerd runc crun               # containers, by either of two runtimes
  containernetworking-plugins        # bridge, host-local, portmap
  nftables conntrack iproute2        # services, and network namespaces of the tests
  wireguard-go wireguard-tools       # one of the ways in which nodes reach each other's pods
  postgresql                         # three datastores that servers may share
  mariadb-server-core mariadb-client-core
  etcd-server etcd-client
  busybox-static gcc libc6-dev       # images of the example and the tests, the pause program
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "missing packages: ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "apt: ${missing[*]}"
# The tests start database servers of their own: the package's need not run.
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # at which packages start no services
apt=(apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
install=("${apt[@]}" install -y --no-install-recommends "${missing[@]}")
"${install[@]}" >/dev/null </dev/null 2>&1 || { "${apt[@]}" update && "${install[@]}" >/dev/null </dev/null; }
