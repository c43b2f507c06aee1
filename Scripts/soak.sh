#!/usr/bin/env bash
# Work queues and services at once for so many hours (0.05 for three minutes), with producers, workers, clients and servers that are
# killed, stopped, cancelled, asked to leave and started again: Scripts/soak.sh HOURS [SEED]. Prints a line every minute, and a table
# at the end. Fails if a job is lost, acknowledged twice, or a dead letter without a reason; if a call does not end in time, or
# gets another's reply; if those that stay use more and more; or if anything is left.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 1 ] || [ $# -gt 2 ] || ! [[ "$1" =~ ^[0-9]+(\.[0-9]+)?$ && "${2:-1}" =~ ^[0-9]+$ ]]; then
    echo "usage: Scripts/soak.sh HOURS [SEED]" >&2
    exit 2
fi

# A debug build: others do not tell how many dead letters made room for newer ones.
swift build --quiet --product Soak
before=$(ls -A /dev/shm | sort)
status=0
# Its children and its files go with it, also if it is interrupted.
.build/debug/Soak --hours "$1" ${2:+--seed "$2"} &
soak=$!
trap 'kill -TERM "$soak" 2>/dev/null || true' INT TERM HUP
while :; do
    if wait "$soak"; then status=0; else status=$?; fi
    kill -0 "$soak" 2>/dev/null || break
done

left=$(comm -13 <(echo "$before") <(ls -A /dev/shm | sort) | grep "^ipc-test-soak-$soak" || true)
if [ -n "$left" ]; then
    echo "Left behind in /dev/shm: $left" >&2
    exit 1
fi
if pgrep -f "^$PWD/.build/.*/debug/Soak participant ipc-test-soak-$soak-" >/dev/null; then
    echo "Left behind: processes of Soak" >&2
    exit 1
fi
exit "$status"
