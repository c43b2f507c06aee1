#!/usr/bin/env bash
# Tries every call of ipc.h: as it is, with libipc.a if it is there, with the program under the address sanitizer, and under valgrind:
# Scripts/c-checks.sh FOLDER, with libipc.so, libipc.a and ipc.h, as Scripts/library.sh puts them there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# != 1 ]; then
    echo "usage: Scripts/c-checks.sh FOLDER" >&2
    exit 2
fi
library=$(cd "$1" && pwd)
root=$(mktemp -d /dev/shm/ipc-test-c-XXXXXX)
work=$(mktemp -d)
trap 'rm -rf "$root" "$work"' EXIT
export IPC_ROOT=$root

compile() {
    gcc -g -std=c11 -Wall -Wextra -Werror -pedantic "${@:3}" -I"$library" "Bindings/C/tests/$1.c" -o "$work/$2" -L"$library" -lipc "-Wl,-rpath,$library"
}
compile interface interface
compile interface interface-address -fsanitize=address,undefined
"$work/interface" | grep -qx right
echo "Every call of ipc.h is right."
if [ -e "$library/libipc.a" ]; then
    gcc -g -std=c11 -I"$library" Bindings/C/tests/interface.c -o "$work/interface-static" "$library/libipc.a" -lstdc++ -lm -lpthread -ldl
    if ldd "$work/interface-static" | grep -q libipc; then
        echo "It uses libipc.so after all." >&2
        exit 1
    fi
    "$work/interface-static" | grep -qx right
    echo "And with libipc.a."
fi
"$work/interface-address" | grep -qx right
echo "And under the address sanitizer."
# What the runtime of Swift keeps until the end is not lost. Its children end with what their parent has open, which looks lost there.
valgrind --quiet --leak-check=full --show-leak-kinds=definite --log-file="$work/valgrind.%p" "$work/interface" >"$work/output" &
program=$!
wait "$program"
grep -qx right "$work/output"
# Its other lines tell of system calls that are newer than it.
if grep -q '^==' "$work/valgrind.$program"; then
    cat "$work/valgrind.$program" >&2
    exit 1
fi
echo "And under valgrind."
