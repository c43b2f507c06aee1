#!/usr/bin/env bash
# Runs every subcommand of `ipc` with hostile arguments and input for so many seconds: Scripts/fuzz.sh SECONDS [SEED]. Fails if one
# ends by a trap or a signal, or does not end when it is told to; then it prints its arguments.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 1 ] || [ $# -gt 2 ] || ! [[ "$1" =~ ^[0-9]+$ && "${2:-1}" =~ ^[0-9]+$ ]]; then
    echo "usage: Scripts/fuzz.sh SECONDS [SEED]" >&2
    exit 2
fi
IPC_FUZZ_SECONDS=$1 IPC_FUZZ_SEED=${2:-$RANDOM} swift test --disable-xctest --filter '^ToolTests\.FuzzTests'
