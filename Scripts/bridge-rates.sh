#!/usr/bin/env bash
# Holds the bridge to a bare C program on libnats, at the same server, in turn: Scripts/bridge-rates.sh [ROUNDS].
# Wanted: topics of 64 bytes at least 10 times the rate of acknowledged messages, at 64 KiB at least 0.9 of the rate; one way from machine to
# machine at most 1.5 times half of a bare round trip, and two local hops (best effort beside core NATS, stored beside two streams with consumers);
# idle bridges of 1,000 channels 0.0 % of a core.
# Wants libnats-dev, a nats-server ($IPC_TEST_NATS_SERVER), and a machine that is otherwise idle.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-6}
server=${IPC_TEST_NATS_SERVER:-.build-python/bin/nats-server}
work=$(mktemp -d)
a=$(mktemp -d /dev/shm/ipc-test-rates-XXXXXX)
b=$(mktemp -d /dev/shm/ipc-test-rates-XXXXXX)
c=$(mktemp -d /dev/shm/ipc-test-rates-XXXXXX)
processes=()
end() {
    for process in "${processes[@]}"; do kill -9 "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work" "$a" "$b" "$c"
}
trap end EXIT

build=(-c release --traits NATS --scratch-path .build-bridge --quiet)
for product in ipc-bridge BridgeRates; do IPC_BRIDGE_ONLY=1 swift build "${build[@]}" --product "$product"; done
bridge=.build-bridge/release/ipc-bridge
rates=.build-bridge/release/BridgeRates
bare=$work/bare
# shellcheck disable=SC2046
gcc -O2 -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror Tests/BridgeRates/bare.c -o "$bare" \
    $(pkg-config --cflags --libs libnats) -lpthread

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=nats://127.0.0.1:$port
"$server" -a 127.0.0.1 -p "$port" -js -sd "$work/store" -l "$work/server.log" &
processes+=($!)

# Waits until so many carriers of a bridge carry.
wait_for() { # ROOT CARRIERS
    for ((i = 0; i < 600; i++)); do
        count=$(IPC_ROOT=$1 "$bridge" status --format json 2>/dev/null | grep -o '"state":"carrying"' | wc -l) || true
        [ "$count" -ge "$2" ] && return
        sleep 0.1
    done
    IPC_ROOT=$1 "$bridge" status >&2 || true
    echo "bridge-rates: after a minute, $count of $2 carriers in $1 carry" >&2
    exit 1
}
start() { # MACHINE ROOT RULES
    echo "{\"machine\": \"$1\", \"servers\": [\"$url\"], \"channels\": [$3]}" >"$work/$1.json"
    IPC_ROOT=$2 "$bridge" run --config "$work/$1.json" 2>>"$work/$1.log" &
    started=$!
    processes+=("$started")
}
rule() { # NAME DIRECTION MORE
    echo "{\"name\": \"rates/$1\", \"pattern\": \"topic\", \"direction\": \"$2\", $3}"
}
rules() { # DIRECTION OTHER
    local fast='"delivery": "best-effort", "delay": "0ms"' stored='"delay": "0ms", "keep": {"bytes": "256MiB"}'
    echo "$(rule fast/ping "$1" "$fast"), $(rule fast/pong "$2" "$fast"), $(rule ping "$1" "$stored"), $(rule pong "$2" "$stored")"
    for name in small large; do echo ", $(rule $name "$1" '"keep": {"bytes": "256MiB"}')"; done
}

"$rates" prepare "$a" "$b" "$c"
start a "$a" "$(rules out in)"
bridges=("$started")
start b "$b" "$(rules in out)"
bridges+=("$started")
wait_for "$a" 6
wait_for "$b" 6

for ((round = 0; round < rounds; round++)); do
    single=$("$bare" publish "$url" 64 200000 4096)
    topic=$("$rates" rate "$a" "$b" 64 2000000)
    large=$("$bare" through "$url" 65536 5000 128)
    large_topic=$("$rates" rate "$a" "$b" 65536 5000)
    request=$("$bare" request "$url" 5000)
    request_stored=$("$bare" request-stored "$url" 5000)
    hop=$("$rates" one-way "$c" "$c" 5000)
    stored=$("$rates" one-way "$a" "$b" 5000)
    fast=$("$rates" one-way-fast "$a" "$b" 5000)
    echo "$single $topic $large $large_topic $request $request_stored $hop $stored $fast"
done | tee "$work/rounds" | awk '{
    printf "64 B: bare C %s/s, topic %s/s; 64 KiB: bare C %s/s, topic %s/s; ", $1, $2, $3, $4
    printf "bare round trip %s µs, stored %s µs, local hop %s µs; ", $5, $6, $7
    printf "one way stored %s µs, best effort %s µs\n", $8, $9 }'
median() { # NAME PROGRAM
    awk "{ print $2 }" "$work/rounds" | sort -n |
        awk -v name="$1" '{ all[NR] = $1 } END { printf "%s: %.2f (%.2f..%.2f)\n", name, all[int((NR + 1) / 2)], all[1], all[NR] }'
}
median "64 B, topic : bare C" '$2 / $1'
median "64 KiB, topic : bare C" '$4 / $3'
median "one way less two hops, stored : half a round trip" '($8 - 2 * $7) / ($6 / 2)'
median "one way less two hops, best effort : half a round trip" '($9 - 2 * $7) / ($5 / 2)'

for process in "${bridges[@]}"; do kill -9 "$process"; done
rm -rf "${a:?}"/* "${b:?}"/* "$a/.bridge" "$b/.bridge"
"$rates" channels "$a" 1000
start a "$a" '{"name": "idle/*", "pattern": "topic", "keep": {"bytes": "1MiB"}}'
bridges=("$started")
start b "$b" '{"name": "idle/*", "pattern": "topic", "keep": {"bytes": "1MiB"}}'
bridges+=("$started")
wait_for "$a" 2000
wait_for "$b" 2000
# What flowed at the start is over, and what asks for it.
sleep 80
busy() { # PROCESS
    awk '{ sum += $1 } END { printf "%.0f\n", sum }' /proc/"$1"/task/*/schedstat
}
for process in "${bridges[@]}"; do
    before=$(busy "$process")
    sleep 30
    after=$(busy "$process")
    awk -v before="$before" -v after="$after" 'BEGIN { printf "idle bridge, 1,000 channels out and in: %.3f %% of a core\n", (after - before) / 30e9 * 100 }'
done
