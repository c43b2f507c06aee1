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
debootstrap --variant=minbase --include=g++,pkg-config,python3,python3-cffi,python3-ply,python3-pip,python3-venv stable "$work/root" >/dev/null
cp "$package" "$wheel" Bindings/C/examples/topic.c "$work/root/tmp/"
cat >"$work/root/tmp/try.sh" <<'TRY'
set -eu
cd /tmp
dpkg -i swift-ipc_*.deb
ipc --version
export IPC_ROOT=/tmp/channels
mkdir -m 700 "$IPC_ROOT"
gcc topic.c -o topic $(pkg-config --cflags --libs ipc)
gcc -static topic.c -o topic-static $(pkg-config --static --cflags --libs ipc)
./topic subscribe >got & sleep 1
./topic-static publish
wait
test "$(wc -l <got)" = 5
# With the cffi of the system, so that nothing is fetched.
python3 -m venv --system-site-packages python
python/bin/pip install --quiet --no-index swift_ipc-*.whl
python/bin/python - <<'PYTHON'
import dataclasses, subprocess
import swift_ipc as ipc

@dataclasses.dataclass
class Quote:
    symbol: ipc.u32
    price: float

quotes = ipc.topic("market/quotes", Quote)
with quotes.publisher() as publisher:
    for number in range(5): publisher.publish(Quote(number, number / 2))
    c = subprocess.run(["./topic", "subscribe"], stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    assert c.stdout.splitlines()[3] == "3 at 1.5", c.stdout
with ipc.topic("market/quotes", Quote).subscribe() as subscription:
    subprocess.run(["./topic", "publish"], timeout=20, check=True)
    assert [subscription.receive(timeout=20) for _ in range(5)][4] == Quote(5, 62.5)
print("Python and C exchange messages.")
PYTHON
files=$(dpkg -L swift-ipc)
dpkg -r swift-ipc
for file in $files; do
    test -d "$file" || test ! -e "$file"
done
test -z "$(ls "$IPC_ROOT")"
TRY
mount -t tmpfs tmpfs "$work/root/dev/shm"
mount -t proc proc "$work/root/proc"
trap 'umount "$work/root/proc" "$work/root/dev/shm" 2>/dev/null || true; rm -rf "$work"' EXIT
chroot "$work/root" /bin/sh /tmp/try.sh
echo "Both work in a clean Debian."
