#!/usr/bin/env bash
# Holds the library for C to Swift: round trips and messages per second of 64 bytes on a topic, in short turns: Scripts/c-cost.sh [ROUNDS].
# The ratio of the round trips is to be at most 1.10, that of the messages at least 0.8. Wants a machine that is otherwise idle.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-40}
work=$(mktemp -d)
root=$(mktemp -d /dev/shm/ipc-test-cost-XXXXXX)
trap 'rm -rf "$work" "$root"' EXIT
export IPC_ROOT=$root

./Scripts/library.sh "$work"
swift build -c release --product ipc --quiet
gcc -O2 -std=c11 -Wall -Wextra -Werror -I"$work" Bindings/C/tests/round_trip.c -o "$work/round_trip" -L"$work" -lipc "-Wl,-rpath,$work"
for ((round = 0; round < rounds; round++)); do
    swift=$(.build/release/ipc bench --mechanism topic --size 64 --duration 0.2 --format csv 2>/dev/null |
        awk -F, '/^topic,swift,latency/ { p50 = $7 } /^topic,swift,throughput/ { rate = $11 / 1e6 } END { print p50, rate }')
    c=$("$work/round_trip" 100000)
    echo "$swift $c"
done | tee "$work/rounds" | awk '{ printf "Swift %s ns, %.1f million/s; C %s ns, %s million/s, by batches %s\n", $1, $2, $3, $4, $5 }'
awk '{ print $3 / $1 }' "$work/rounds" | sort -n | awk '{ all[NR] = $1 } END { printf "round trip, C : Swift: %.2f (%.2f..%.2f)\n", all[int((NR + 1) / 2)], all[1], all[NR] }'
awk '{ print $4 / $2 }' "$work/rounds" | sort -n | awk '{ all[NR] = $1 } END { printf "messages, C : Swift: %.2f (%.2f..%.2f)\n", all[int((NR + 1) / 2)], all[1], all[NR] }'
awk '{ print $5 / $2 }' "$work/rounds" | sort -n | awk '{ all[NR] = $1 } END { printf "messages by batches, C : Swift: %.2f (%.2f..%.2f)\n", all[int((NR + 1) / 2)], all[1], all[NR] }'
