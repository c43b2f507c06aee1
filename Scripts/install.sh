#!/usr/bin/env bash
# Installs the command, the library for C, its header, pkg-config file, manual page and completions: Scripts/install.sh --prefix DIR.
# The programs need no Swift: its runtime is inside. DESTDIR is put before the prefix, as packages want it.
# With --with-nats, also ipc-bridge, which needs libnats where it is built and where it runs. With --remove, removes all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix= bridge= remove=
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:-} && shift ;;
    --with-nats) bridge=ipc-bridge ;;
    --remove) remove=1 ;;
    *) prefix= && break ;;
    esac
    [ $# = 0 ] || shift
done
if [[ "$prefix" != /* ]]; then
    echo "usage: Scripts/install.sh --prefix DIR [--with-nats | --remove], with an absolute path" >&2
    exit 2
fi
target=${DESTDIR:-}$prefix

if [ -n "$remove" ]; then
    for product in ipc ipc-bridge; do
        rm -f "$target"/{bin/$product,share/man/man1/$product.1,share/bash-completion/completions/$product} \
            "$target"/share/{zsh/site-functions/_$product,fish/vendor_completions.d/$product.fish}
    done
    rm -f "$target"/{bin/ipc-ui,lib/libipc.{so,so.0,a},lib/pkgconfig/ipc.pc,include/ipc.h}
    [ -n "${DESTDIR:-}" ] || [ "$(id -u)" != 0 ] || ldconfig
    # Folders of the system stay, also if they are empty now.
    case $target in /usr | /usr/local) exit ;; esac
    for folder in bin lib/pkgconfig lib include share/man/man1 share/man share/bash-completion/completions share/bash-completion \
        share/zsh/site-functions share/zsh share/fish/vendor_completions.d share/fish share ""; do
        rmdir "$target/$folder" 2>/dev/null || true
    done
    exit
fi
if [ -n "$bridge" ] && ! pkg-config --exists libnats; then
    echo "ipc-bridge needs libnats: install libnats-dev, or leave out --with-nats" >&2
    exit 1
fi

# First, so that it fails before the build if that is not allowed.
mkdir -p "$target"/{bin,lib/pkgconfig,include,share/man/man1,share/bash-completion/completions,share/zsh/site-functions,share/fish/vendor_completions.d}
build=(swift build -c release --static-swift-stdlib --scratch-path .build-static)
for product in ipc ipc-ui; do
    "${build[@]}" --product "$product"
done
programs=$("${build[@]}" --show-bin-path)
library=$(mktemp -d)
trap 'rm -rf "$library"' EXIT
if [ -n "$bridge" ]; then
    # Apart: the trait changes what else is built.
    build=(env IPC_BRIDGE_ONLY=1 "${build[@]}-bridge" --traits NATS)
    "${build[@]}" --product ipc-bridge
    bridge=$("${build[@]}" --show-bin-path)/ipc-bridge
fi
./Scripts/library.sh "$library"

for program in "$programs"/{ipc,ipc-ui} $bridge; do
    # A program in use can be replaced, and not written to.
    product=$(basename "$program")
    strip -o "$target/bin/.$product.new" "$program"
    mv "$target/bin/.$product.new" "$target/bin/$product"
done
install -m 644 "$library/libipc.so.0" "$target/lib/libipc.so.0"
ln -sf libipc.so.0 "$target/lib/libipc.so"
install -m 644 "$library/libipc.a" "$target/lib/libipc.a"
install -m 644 "$library/ipc.h" "$target/include/ipc.h"
version=$("$target/bin/ipc" --version)
cat >"$target/lib/pkgconfig/ipc.pc" <<PC
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: ipc
Description: Channels in shared memory
Version: $version
Libs: -L\${libdir} -lipc
Libs.private: -lstdc++ -lm -lpthread -ldl
Cflags: -I\${includedir}
PC
for product in ipc ${bridge:+ipc-bridge}; do
    program=$target/bin/$product
    "$program" --generate-completion-script bash >"$target/share/bash-completion/completions/$product"
    "$program" --generate-completion-script zsh >"$target/share/zsh/site-functions/_$product"
    "$program" --generate-completion-script fish >"$target/share/fish/vendor_completions.d/$product.fish"
    "$program" --experimental-dump-help | python3 Scripts/manual.py "$version" >"$target/share/man/man1/$product.1"
done
# A program finds the library in /usr/local/lib then.
[ -n "${DESTDIR:-}" ] || [ "$(id -u)" != 0 ] || ldconfig
echo "Installed in $target. Where that is not searched: export PATH=$prefix/bin:\$PATH PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib"
