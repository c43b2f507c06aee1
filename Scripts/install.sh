#!/usr/bin/env bash
# Installs the command, the library for C, its header, pkg-config file, manual page and completions: Scripts/install.sh --prefix DIR.
# The programs need no Swift: its runtime is inside. DESTDIR is put before the prefix, as packages want it.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# != 2 ] || [ "$1" != --prefix ] || [[ "$2" != /* ]]; then
    echo "usage: Scripts/install.sh --prefix DIR, with an absolute path" >&2
    exit 2
fi
prefix=$2
target=${DESTDIR:-}$prefix

for product in ipc ipc-ui; do
    swift build -c release --static-swift-stdlib --scratch-path .build-static --product "$product"
done
programs=$(swift build -c release --static-swift-stdlib --scratch-path .build-static --show-bin-path)
library=$(mktemp -d)
trap 'rm -rf "$library"' EXIT
./Scripts/library.sh "$library"

mkdir -p "$target"/{bin,lib/pkgconfig,include,share/man/man1,share/bash-completion/completions,share/zsh/site-functions,share/fish/vendor_completions.d}
for product in ipc ipc-ui; do
    # A program in use can be replaced, and not written to.
    strip -o "$target/bin/.$product.new" "$programs/$product"
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
"$target/bin/ipc" --generate-completion-script bash >"$target/share/bash-completion/completions/ipc"
"$target/bin/ipc" --generate-completion-script zsh >"$target/share/zsh/site-functions/_ipc"
"$target/bin/ipc" --generate-completion-script fish >"$target/share/fish/vendor_completions.d/ipc.fish"
"$target/bin/ipc" --experimental-dump-help | python3 Scripts/manual.py "$version" >"$target/share/man/man1/ipc.1"
echo "Installed in $target. Where that is not searched: export PATH=$prefix/bin:\$PATH PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib"
