#!/usr/bin/env bash
# The long run of the hostile tests, under the address sanitizer: a participant writes so many million times over channels of every
# kind (100 if not told) while others use them: Scripts/scribble.sh [MILLIONS]. Fails if anybody crashes, leaves its
# mappings, or waits longer than it asked for.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -gt 1 ] || ! [[ "${1:-100}" =~ ^[1-9][0-9]{0,5}$ ]]; then
    echo "usage: Scripts/scribble.sh [MILLIONS]" >&2
    exit 2
fi
# The tests write over 28 channels; each has its time limit, so a round is 28 times 100,000.
each=100000
rounds=$(((${1:-100} * 1000000 + 28 * each - 1) / (28 * each)))
swift build --quiet --build-tests --sanitize=address --scratch-path .build-address
for round in $(seq "$rounds"); do
    IPC_SCRIBBLES=$each timeout --kill-after=10 1200 swift test --disable-xctest --sanitize=address \
        --scratch-path .build-address --skip-build --filter '^IPCChannelsTests\.Hostile' --quiet 2>&1 | tail -1
    echo "$((round * 28 * each)) overwrites"
done
