#!/usr/bin/env bash
# Crashes a virtual machine again and again while programs in it use durable channels, and checks after each crash that what
# was synced is there: see "Crashing a machine" in Documentation/guarantees.md. Fails if a round fails.
#
#   Scripts/crash.sh [ROUNDS] [SEED]   so many crashes; the seed decides when, and what is lost
#   Scripts/crash.sh --again FOLDER    checks once more what a failed round has left
#   Scripts/crash.sh --tests [FILTER]  runs the engine's tests on the virtual machine's kernel, Linux 6.1
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio mke2fs:e2fsprogs python3:python3 setpriv:util-linux; do
    command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
done
if [ ${#packages[@]} -gt 0 ]; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

work=$(mktemp -d /tmp/ipc-crash-XXXXXX)
machine=0 disk=0
end_machine() {
    for process in $machine $disk; do
        [ "$process" = 0 ] || kill -KILL "$process" 2>/dev/null || true
        [ "$process" = 0 ] || wait "$process" 2>/dev/null || true
    done
    machine=0 disk=0
}
trap 'end_machine; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# The kernel is only unpacked, not installed.
kernel=.build/crash/kernel
if ! compgen -G "$kernel/boot/vmlinuz-*" >/dev/null; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
    if [ -z "$package" ]; then
        as_root apt-get update -qq
        package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
    fi
    (cd "$work" && apt-get download -qq "$package" 2>/dev/null)
    mkdir -p "$kernel"
    dpkg-deb -x "$work/$package"_*.deb "$kernel"
    rm "$work/$package"_*.deb
fi
vmlinuz=$(compgen -G "$kernel/boot/vmlinuz-*" | head -1)

# The file system of the virtual machine: busybox, the kernel's modules for its devices, and programs with their libraries.
guest=$work/guest
mkdir -p "$guest"/{bin,modules,proc,sys,dev}
cp "$(command -v busybox)" "$guest/bin/busybox"
cp Scripts/crash/init "$guest/init"
for module in virtio/virtio{_ring,,_pci_modern_dev,_pci_legacy_dev,_pci} block/virtio_blk char/virtio_console; do
    cp "$kernel"/lib/modules/*/kernel/drivers/"$module".ko "$guest/modules/"
done
add_program() {
    cp "$1" "$2"
    ldd "$1" | grep -oE '/[^ ]+' | while read -r library; do cp -nL --parents "$library" "$guest"; done
}
pack() { (cd "$guest" && find . | cpio -o -H newc --quiet) >"$work/initrd"; }

# Starts the machine. Its console takes what is written before the write returns (ioeventfd=off). The arguments are for the kernel's command line; the rest of the machine is in `devices`.
devices=()
start_machine() {
    : >"$work/report"
    qemu-system-x86_64 "${accelerator[@]}" -M pc -m "${memory:-384}" -smp 2 -nodefaults -no-user-config -display none \
        -no-reboot -kernel "$vmlinuz" -initrd "$work/initrd" \
        -append "console=ttyS0 panic=-1 mitigations=off no_timer_check $*" \
        -serial "file:$work/console" -chardev "file,id=report,path=$work/report,append=on" \
        -device virtio-serial-pci,ioeventfd=off -device virtconsole,chardev=report "${devices[@]}" >"$work/qemu" 2>&1 &
    machine=$!
}
said() { grep -aqE "^($1)" "$work/report"; }
# Waits until the machine has said one of these lines, or is down.
wait_until_said() {
    local deadline=$((SECONDS + $2))
    until said "$1"; do
        kill -0 $machine 2>/dev/null || { said "$1"; return; }
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

# Some machines have a /dev/kvm that cannot run this one, so it is tried.
choose_accelerator() {
    pack
    accelerator=(-accel kvm -cpu 'host')
    if [ -w /dev/kvm ]; then
        if (start_machine data=ordered && wait_until_said 'fault mount' 10; status=$?; end_machine; exit $status) 2>/dev/null; then
            return
        fi
    fi
    accelerator=(-accel 'tcg,thread=multi' -cpu max)
}

if [ "${1:-}" = --tests ]; then
    swift build --build-tests --quiet
    mkdir "$guest/tests"
    add_program .build/debug/swift-ipcPackageTests.xctest "$guest/tests/tests.xctest"
    add_program .build/debug/ChannelPeer "$guest/tests/"
    # What the tests start; a shell that does not take busybox's own programs instead.
    for program in setpriv unshare sh; do add_program "$(command -v $program)" "$guest/bin/"; done
    choose_accelerator
    limit=${CRASH_TESTS_LIMIT:-2400} memory=3072
    # Not those that count on the speed of a real processor: a deadline of 20 ms, 800 channels made in a minute.
    skip='--skip aSlowServerHoldsOnlyItsCallersUpUntilTheLogIsFull --skip aChannelThatComesAndGoesAllTheTimeIsNeverBroken'
    filter=${2:-'^IPCChannelsTests\.(Topic|WorkQueue|Latest|Event|WaitSet|Registry|Service)Tests|^TortureTests\.(Kill|WorkerKill|Durable|Namespace)Tests'}
    echo "Running the tests $filter on $(basename "$vmlinuz"), ${accelerator[*]}, for at most $limit s:"
    start_machine mode=tests "limit=$limit" "\"arguments=--no-parallel $skip --filter $filter\""
    wait_until_said 'status [0-9]' $((limit + 60)) || echo "The tests did not end in time." >&2
    end_machine
    grep -aE '^(✘|status|Linux)|passed|failed' "$work/report" || tail -20 "$work/report" "$work/console"
    said 'status 0'
    exit
fi

swift build -c release --product CrashPeer --quiet
add_program .build/release/CrashPeer "$guest/bin/"
choose_accelerator

# The machine's disk, which loses what was not flushed when the machine is killed; and what it said before, read-only.
boot() { # EPOCH SEED RUN OPTIONS...
    rm -f "$work/socket"
    : >"$work/disk"
    python3 Scripts/crash/volatile_disk.py "$work/socket" "$work/image" "$2" >"$work/disk" 2>&1 &
    disk=$!
    until grep -q ready "$work/disk"; do
        kill -0 $disk || { cat "$work/disk" >&2; exit 1; }
        sleep 0.02
    done
    cp "$work/history" "$work/told"
    echo >>"$work/told"
    truncate -s %512 "$work/told"
    local drive="if=none,id=disk,format=raw,cache=writeback"
    drive+=",file.driver=nbd,file.server.type=unix,file.server.path=$work/socket"
    devices=(-drive "$drive" -device "virtio-blk-pci,drive=disk"
        -drive "if=none,id=told,format=raw,readonly=on,file=$work/told" -device "virtio-blk-pci,drive=told")
    start_machine mode=crash "epoch=$1" "seed=$2" "run=$3" "${@:4}"
}
# The same until the machine gets to the check. On a busy host an emulated one hangs in its own boot, before any program of
# ours runs; that says nothing about them, and is counted.
hung=0
boot_to_check() {
    local attempt
    for attempt in 1 2 3 4 5; do
        boot "$@"
        if wait_until_said "fault|checking" 180; then return; fi
        echo "the machine hangs in its boot (attempt $attempt of 5): $(tail -n 1 "$work/console")"
        hung=$((hung + 1))
        end_machine
        cp --sparse=always "$work/before" "$work/image"
    done
    return 1
}
# Without what was being written when it was killed.
remember() {
    { if [ -z "$(tail -c 1 "$work/report")" ]; then cat "$work/report"; else sed '$d' "$work/report"; fi; } |
        grep -aE '^(synced|settled|acking|acked) ' >>"$work/history" || true
}
fresh_disk() {
    rm -f "$work/image"
    truncate -s 48M "$work/image"
    mke2fs -q -F -t ext4 "$work/image"
    : >"$work/history"
}

if [ "${1:-}" = --again ]; then
    cp --sparse=always "$2/image" "$work/image"
    cp "$2/history" "$work/history"
    # shellcheck disable=SC2046  # words on purpose
    boot $(cat "$2/boot")
    wait_until_said 'fault|checked' 180 || true
    cat "$work/report"
    ! said fault && said checked
    exit
fi

rounds=${1:-50} seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
RANDOM=$((seed % 32768))
below() { echo $(((RANDOM * 32768 + RANDOM) % $1)); }
pause() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }
echo "$rounds crashes of $(basename "$vmlinuz"), ${accelerator[*]}; seed $seed"

failed=0 left=0 unflushed=0
fail() { # ROUND
    failed=$((failed + 1))
    if said fault; then
        grep -aE '^fault' "$work/report" | head -5 | sed 's/^/    /'
    else
        tail -n 3 "$work/report" "$work/console" "$work/qemu" | sed 's/^/    /'
    fi
    folder=.build/crash/failed-$seed-$1
    mkdir -p "$folder"
    cp --sparse=always "$work/before" "$folder/image"
    cp "$work/told" "$folder/history"
    cp "$work/boot" "$work/report" "$work/console" "$folder"
    echo "    check again: Scripts/crash.sh --again $folder; repeat all rounds: Scripts/crash.sh $rounds $seed"
    left=0
}

for ((round = 1; round <= rounds + 1; round++)); do
    if [ $left = 0 ]; then
        fresh_disk
        left=$((4 + $(below 12))) epoch=0
        data=$([ "$(below 2)" = 0 ] && echo ordered || echo writeback)
    fi
    left=$((left - 1)) epoch=$((epoch + 1))
    # Two kinds of users at a time: all together are too slow for one machine.
    kinds=(alone shared each every jobs jobs)
    run=${kinds[$(below 6)]},${kinds[$(below 5)]}
    [ "${run%,*}" != "${run#*,}" ] || run=${run%,*}
    boot_seed=$((seed + round))
    life=$([ "$(below 4)" = 0 ] && echo $((200 + $(below 1000))) || echo 0)
    writeback=$([ "$(below 2)" = 0 ] && echo 10 || echo 500)
    moment=$((200 + $(below 3500)))
    in_check=$([ "$(below 6)" = 0 ] && echo yes || echo no)
    [ $round -le "$rounds" ] || run=none in_check=no
    cp --sparse=always "$work/image" "$work/before"
    echo "$epoch $boot_seed none data=$data writeback=$writeback life=0" >"$work/boot"
    if ! boot_to_check "$epoch" "$boot_seed" "$run" "data=$data" "writeback=$writeback" "life=$life"; then
        echo "round $round: the machine does not boot"
        fail $round
        continue
    fi

    if [ "$run" = none ]; then
        wait_until_said 'fault|checked' 180 || true
        if said fault || ! said checked; then
            echo "after the last round, epoch $epoch: failed"
            fail $round
        fi
        end_machine
        break
    fi
    # At any moment of the check, while it recovers; or later, mostly when all write.
    [ "$in_check" = no ] || moment=$((moment / 4))
    begin='synced|acked'
    [ "$(below 6)" != 0 ] || begin=writing
    [ "$in_check" = no ] || begin=checking
    if ! wait_until_said "fault|$begin" 180; then
        echo "round $round, epoch $epoch, $run, data=$data: a program hangs during the check or after it"
        end_machine
        fail $round
        continue
    fi
    said fault || pause $moment
    kill -KILL $machine 2>/dev/null || true
    wait $machine 2>/dev/null || true
    machine=0
    wait $disk 2>/dev/null || true
    disk=0
    grep -q '^0 writes' "$work/disk" || unflushed=$((unflushed + 1))
    if said fault; then
        echo "round $round, epoch $epoch, $run, data=$data: failed"
        fail $round
        continue
    fi
    remember
    echo "round $round, epoch $epoch, $run, data=$data: killed $moment ms after $begin, $(grep -ac '^synced\|^acked' "$work/report" || true) syncs reported; $(tail -1 "$work/disk")"
done
echo "$rounds crashes, seed $seed: $unflushed with unflushed writes on the disk; $hung boots hung; $failed rounds failed"
[ $failed = 0 ]
