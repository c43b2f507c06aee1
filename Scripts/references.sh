#!/usr/bin/env bash
# Counts what a message retains, releases and allocates, in a release build: nothing, but that a job which is handed out keeps
# its worker's place, which is an object, and a call its client's and its server's. Those that are lent do not.
set -euo pipefail
cd "$(dirname "$0")/.."
swift build -c release --product TestPeer --quiet
root=$(mktemp -d /dev/shm/ipc-test-references-XXXXXX)
trap 'rm -rf "$root"' EXIT
peer=$(swift build -c release --show-bin-path)/TestPeer
# On a busy machine a side sleeps now and then, and what it does then is counted too.
for attempt in 1 2 3 4 5; do
    counts=$(IPC_ROOT=$root "$peer" references)
    [ "$(wc -l <<<"$counts")" = 14 ]
    wrong=$(grep -vE '^(topic|bytes|latest|event).* 0 0$|-lent 0 0$|^work-queue 2 0$|^service 4 0$|^service-bytes 2 0$' <<<"$counts" || true)
    [ -n "$wrong" ] || break
done
sed 's/\(.*\) \(.*\) \(.*\)/\1: \2 references, \3 allocations per message/' <<<"$counts"
if [ -n "$wrong" ]; then
    echo "$wrong" >&2
    echo "Expected 0 0 in each line above; 2 references of a delivered job, 4 of a call, 2 of a waiting call of bytes." >&2
    exit 1
fi
