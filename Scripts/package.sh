#!/usr/bin/env bash
# Makes a Debian package and a Python wheel: Scripts/package.sh FOLDER. Neither needs Swift where it is installed.
# With --try, both are installed and tried in a clean Debian of its own (debootstrap, as root).
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "${2:---try}" != --try ]; then
    echo "usage: Scripts/package.sh FOLDER [--try]" >&2
    exit 2
fi
folder=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DESTDIR="$work/deb" ./Scripts/install.sh --prefix /usr
version=$("$work/deb/usr/bin/ipc" --version)
architecture=$(dpkg --print-architecture)
mkdir -p "$work/deb/DEBIAN" "$work/deb/usr/share/doc/swift-ipc"
cp LICENSE "$work/deb/usr/share/doc/swift-ipc/copyright"
gzip -9n "$work/deb/usr/share/man/man1/ipc.1"
cat >"$work/deb/DEBIAN/control" <<CONTROL
Package: swift-ipc
Version: $version
Architecture: $architecture
Maintainer: The swift-ipc developers <swift-ipc@localhost>
Depends: libc6 (>= 2.36), libstdc++6, libgcc-s1
Section: utils
Priority: optional
Description: inter-process communication: a command, and channels in shared memory for C
 The command ipc lists, tries, measures and debugs what processes exchange: pipes, shared
 memory, message queues, sockets, signals, and crash-safe channels. libipc gives the
 channels to C and C++.
CONTROL
printf '#!/bin/sh\nset -e\n[ "$1" != configure ] || ldconfig\n' >"$work/deb/DEBIAN/postinst"
printf '#!/bin/sh\nset -e\n[ "$1" != remove ] || ldconfig\n' >"$work/deb/DEBIAN/postrm"
chmod 755 "$work/deb/DEBIAN/postinst" "$work/deb/DEBIAN/postrm"
package="$folder/swift-ipc_${version}_$architecture.deb"
dpkg-deb --root-owner-group --build "$work/deb" "$package" >/dev/null

SWIFT_IPC_LIBRARY="$work/deb/usr/lib/libipc.so.0" python3 -m pip wheel --quiet --no-deps --wheel-dir "$folder" ./Bindings/Python
wheel=$(ls -t "$folder"/swift_ipc-*.whl | head -1)
echo "$package"
echo "$wheel"

[ "${2:-}" = --try ] || exit 0
# A Debian without Swift, and without anything that this machine has.
debootstrap --variant=minbase --include=gcc,libc6-dev,pkg-config,python3,python3-pip,python3-venv stable "$work/root" >/dev/null
cp "$package" "$wheel" Bindings/C/examples/topic.c "$work/root/tmp/"
cat >"$work/root/tmp/try.sh" <<'TRY'
set -eu
cd /tmp
dpkg -i swift-ipc_*.deb
ipc --version
export IPC_ROOT=/tmp/channels
mkdir -m 700 "$IPC_ROOT"
gcc topic.c -o topic $(pkg-config --cflags --libs ipc)
./topic subscribe >got & sleep 1
./topic publish
wait
test "$(wc -l <got)" = 5
python3 -m venv python
python/bin/pip install --quiet swift_ipc-*.whl
python/bin/python - <<'PYTHON'
import swift_ipc as ipc
queue = ipc.queue("orders", bytes)
with queue.producer() as producer: producer.send(b"ship 7")
with queue.worker() as worker:
    job = worker.take(timeout=5)
    assert job.bytes == b"ship 7"
    job.acknowledge()
print("python works")
PYTHON
TRY
mount -t tmpfs tmpfs "$work/root/dev/shm"
mount -t proc proc "$work/root/proc"
trap 'umount "$work/root/proc" "$work/root/dev/shm" 2>/dev/null || true; rm -rf "$work"' EXIT
chroot "$work/root" /bin/sh /tmp/try.sh
echo "Both work in a clean Debian."
