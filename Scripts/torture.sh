#!/usr/bin/env bash
# Kills participants of channels at every named point and at random moments, for so many hours (0.05 for three minutes), while
# others check what they see: Scripts/torture.sh HOURS [SEED]. Prints a line every minute, and a table at the end. Fails if
# anything is lost, doubled, torn or stale, if anybody waits too long for the dead, or if anything is left; then it says
# how to repeat the round.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 1 ] || [ $# -gt 2 ] || ! [[ "$1" =~ ^[0-9]+(\.[0-9]+)?$ && "${2:-1}" =~ ^[0-9]+$ ]]; then
    echo "usage: Scripts/torture.sh HOURS [SEED]" >&2
    exit 2
fi

# A debug build: others have no kill points.
swift build --quiet --product Torture
before=$(ls -A /dev/shm | sort)
status=0
# Its children and its files go with it, also if it is interrupted.
.build/debug/Torture --hours "$1" ${2:+--seed "$2"} &
torture=$!
trap 'kill -TERM "$torture" 2>/dev/null || true' INT TERM HUP
while :; do
    if wait "$torture"; then status=0; else status=$?; fi
    kill -0 "$torture" 2>/dev/null || break
done

left=$(comm -13 <(echo "$before") <(ls -A /dev/shm | sort) | grep "^ipc-test-torture-$torture" || true)
if [ -n "$left" ]; then
    echo "Left behind in /dev/shm: $left" >&2
    exit 1
fi
if pgrep -f "^$PWD/.build/.*/debug/Torture participant ipc-test-torture-$torture-" >/dev/null; then
    echo "Left behind: processes of Torture" >&2
    exit 1
fi
exit "$status"
