#!/usr/bin/env bash
# Lets each public call that can wait end without success so many times, 100,000 if nothing is said; the objects that it is called on are
# made anew for every ten. Scripts/repeat.sh [COUNT]. Fails if descriptors, mappings or memory have grown.
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-100000}
if [ $# -gt 1 ] || ! [[ "$count" =~ ^[0-9]+$ ]]; then
    echo "usage: Scripts/repeat.sh [COUNT]" >&2
    exit 2
fi

swift build -c release --quiet --product CallPeer
# More than there are processors: the calls wait.
parts=$((4 * $(nproc)))
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
start=$SECONDS
for ((part = 0; part < parts; part++)); do
    .build/release/CallPeer repeat "$count" "$part" "$parts" >"$folder/$part" 2>&1 &
done
status=0
for job in $(jobs -p); do wait "$job" || status=$?; done
grep -vh '^end$' "$folder"/* || true
if [ "$status" != 0 ] || [ "$(cat "$folder"/* | grep -c '^end$')" != "$parts" ] || [ "$(cat "$folder"/* | wc -l)" != "$parts" ]; then
    echo "Descriptors, mappings or memory have grown, or a call ended too early." >&2
    exit 1
fi
echo "Each call ran $count times, in $((SECONDS - start)) s; descriptors, mappings and memory have not grown."
