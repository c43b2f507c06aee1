#!/usr/bin/env bash
# Tries every interleaving of the models in Documentation/models with SPIN, and the litmus tests of weak memory.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Runs SPIN on a model with these settings; leaves its report.
explore() {
    local model=$1
    shift
    (cd "$folder" && spin -a "$@" "$OLDPWD/Documentation/models/$model.pml" >/dev/null &&
        gcc -O2 -DSAFETY -DMEMLIM=8192 -DCOLLAPSE -w -o checker pan.c && ./checker -m200000 -E >report)
}
check() {
    explore "$@"
    if ! grep -q 'errors: 0' "$folder/report" || grep -qE 'max search depth too small|out of memory' "$folder/report"; then
        cat "$folder/report" >&2
        exit 1
    fi
    echo "$*: $(grep -oE '[0-9.e+]+ states, stored' "$folder/report"), no errors"
}
check shared-log -DWRITERS=2 -DLOG=4
check shared-log -DWRITERS=3 -DLOG=3 -DMORTALS=2 -DONE_CLAIM
# A recovery that does not look at the stamp has to be found out, or the model proves nothing.
explore shared-log -DWRITERS=2 -DLOG=2 -DBROKEN
grep -q 'errors: 1' "$folder/report" || { echo "the broken model passed" >&2; exit 1; }
# Weak memory: each pair as it is, and with one ordering given up, which has to be found out.
python3 Documentation/models/litmus.py
