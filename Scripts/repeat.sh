#!/usr/bin/env bash
# Makes the objects of each public call that can wait, lets the call end without success, and gives them up, so many times: 100,000 if
# nothing is said. Scripts/repeat.sh [COUNT]. Takes some minutes for each thousand. Fails if descriptors, mappings or memory have grown.
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-100000}
if [ $# -gt 1 ] || ! [[ "$count" =~ ^[0-9]+$ ]]; then
    echo "usage: Scripts/repeat.sh [COUNT]" >&2
    exit 2
fi

swift build --quiet --product CallPeer
parts=$(nproc)
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
start=$SECONDS
for ((part = 0; part < parts; part++)); do
    .build/debug/CallPeer repeat "$count" "$part" "$parts" >"$folder/$part" 2>&1 &
done
status=0
for job in $(jobs -p); do wait "$job" || status=$?; done
grep -vh '^end$' "$folder"/* || true
if [ "$status" != 0 ] || [ "$(cat "$folder"/* | grep -c '^end$')" != "$parts" ] || [ "$(cat "$folder"/* | wc -l)" != "$parts" ]; then
    echo "Descriptors, mappings or memory have grown, or a call ended too early." >&2
    exit 1
fi
echo "Each call ran $count times, in $((SECONDS - start)) s; descriptors, mappings and memory have not grown."
