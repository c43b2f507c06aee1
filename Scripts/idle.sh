#!/usr/bin/env bash
# Measures what waiting costs, in a release build: one thread, and then 200 of one process, of each kind that may wait for a channel and
# get nothing for five seconds. On a busy machine the figures are larger.
set -euo pipefail
cd "$(dirname "$0")/.."
swift build -c release --product TestPeer --quiet
root=$(mktemp -d /dev/shm/ipc-test-idle-XXXXXX)
trap 'rm -rf "$root"' EXIT
peer=$(swift build -c release --show-bin-path)/TestPeer
for kind in subscribers subscribing-tasks workers servers callers publishers waiters; do
    for count in 1 200; do
        IPC_ROOT=$root "$peer" idle "$kind" "$count"
    done
done
