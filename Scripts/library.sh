#!/usr/bin/env bash
# Builds libipc.so and libipc.a with ipc.h for C and other languages into a folder: Scripts/library.sh FOLDER. The Swift runtime is inside.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# != 1 ]; then
    echo "usage: Scripts/library.sh FOLDER" >&2
    exit 2
fi
folder=$1
mkdir -p "$folder"
# A folder of its own for the build: the flags differ from those of the other builds.
build=(swift build -c release --product ipc-c --scratch-path .build-library -Xswiftc -static-stdlib
    -Xlinker "--version-script=$PWD/Bindings/C/libipc.map" -Xlinker -soname=libipc.so.0 -Xlinker --gc-sections)
"${build[@]}"
library="$("${build[@]}" --show-bin-path)/libipc-c.so"
strip --strip-unneeded -o "$folder/libipc.so.0" "$library"
ln -sf libipc.so.0 "$folder/libipc.so"
cp Sources/CIPCInterface/include/ipc.h "$folder/"
others=$(nm -D --defined-only "$folder/libipc.so.0" | awk '$2 ~ /[A-Z]/ && $3 !~ /^(ipc_|LIBIPC_0)/ { print $3 }')
if [ -n "$others" ]; then
    echo "The library exports more than ipc_…: $others" >&2
    exit 1
fi

# The same code as one object, of which only the interface has names outside of it.
objects="$("${build[@]}" --show-bin-path)/ipc-c.product/Objects.LinkFileList"
runtime=$(swift -print-target-info -static-stdlib | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')/linux
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm -D --defined-only "$folder/libipc.so.0" | awk '$3 ~ /^ipc_/ { sub(/@.*/, "", $3); print $3 }' >"$work/names"
sed "s/^'\(.*\)'$/\1/" "$objects" >"$work/objects"
archives=()
for name in swiftCore swift_Concurrency swift_StringProcessing swift_RegexParser swiftSynchronization swiftGlibc swift_Builtin_float \
    dispatch swiftDispatch BlocksRuntime; do
    archives+=("$runtime/lib$name.a")
done
# What nothing refers to goes: the names are what there is to keep.
sed 's/^/--undefined=/' "$work/names" >"$work/kept"
ld -r --gc-sections -o "$work/whole.o" "@$work/kept" "$runtime/$(uname -m)/swiftrt.o" "@$work/objects" \
    --start-group "${archives[@]}" --end-group
objcopy --keep-global-symbols="$work/names" --strip-unneeded "$work/whole.o" "$work/ipc.o"
rm -f "$folder/libipc.a"
ar rcs "$folder/libipc.a" "$work/ipc.o"
