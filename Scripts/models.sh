#!/usr/bin/env bash
# Tries every interleaving of the models in Documentation/models with SPIN, and runs the litmus tests. Each model is also run with
# mistakes in it, which have to be found out, or it would prove nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 Documentation/models/litmus.py

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Runs SPIN on a model with these settings in the present folder; leaves its report. The compiler takes longer than the search where
# a model is long (18 s instead of 2 for set-aside), or has a mistake in it. States are kept as they are: to compress them takes a
# third longer, and a search needs some 2 GB without.
explore() {
    local kind=$1 model=$2 optimization=-O0
    shift 2
    case $kind-$model in check-shared-log | check-fan-out | check-wake-one) optimization=-O1 ;; esac
    spin -a "$@" "$model.pml" >/dev/null
    gcc "$optimization" -DSAFETY -DMEMLIM=7000 -w -o checker pan.c
    ./checker -m400000 -E >report
}
judge() {
    local kind=$1
    shift
    explore "$kind" "$@"
    if [ "$kind" = mistake ]; then
        grep -q 'errors: 1' report || { echo "$*: the mistake was not found" >&2; return 1; }
        echo "$*: found"
    elif ! grep -q 'errors: 0' report || grep -qE 'max search depth too small|out of memory|reached -DMEMLIM' report; then
        cat report >&2
        return 1
    else
        echo "$*: $(grep -oE '[0-9.e+]+ states, stored' report), no errors"
    fi
}
# As many at a time as there are processors, each in a folder of its own.
running=0
begin() {
    if [ "$running" -ge "$(nproc)" ]; then
        wait -n
        running=$((running - 1))
    fi
    local place
    place=$(mktemp -d -p "$folder")
    cp Documentation/models/*.pml "$place"
    (cd "$place" && judge "$@" && rm -rf "$place") &
    running=$((running + 1))
}
check() { begin check "$@"; }
mistake() { begin mistake "$@"; }

# Writers and recovery; a log that goes round; slots that are used again.
check shared-log -DLOG=3 -DONE_CLAIM
check shared-log -DLOG=3 -DRECOVERIES=1
check shared-log -DLOG=3 -DCAPACITY=2
check shared-log -DLOG=3 -DONE_CLAIM -DJOINS=1 -DMORTALS=1
check shared-log -DWRITERS=3 -DLOG=2 -DMORTALS=2 -DONE_CLAIM -DRECOVERIES=1 -DKILLS=0
check shared-log -DWRITERS=3 -DLOG=3 -DMORTALS=1 -DONE_CLAIM -DRECOVERIES=1
mistake shared-log -DLOG=3 -DBROKEN
mistake shared-log -DLOG=3 -DBROKEN_GATE
mistake shared-log -DLOG=3 -DCAPACITY=2 -DSTALE

# Sleeping and waking: threads, and tasks; one who syncs; joining and leaving; stopping; dying.
check sleeping
check sleeping -DTASKS=3
check sleeping -DWRITERS=2 -DROOM=2
check sleeping -DWRITERS=2 -DREADERS=0 -DSYNC
check sleeping -DWRITERS=2 -DREADERS=0 -DSYNC -DTASKS=2
check sleeping -DWRITERS=3 -DREADERS=0 -DSYNC
check sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DTASKS=4
check sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DSTOPPERS=1
check sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DSTOPPERS=1 -DTASKS=4
check sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DMORTALS=1
check sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DMORTALS=1 -DTASKS=4
check sleeping -DJOINERS=2
check sleeping -DJOINERS=2 -DTASKS=1
check sleeping -DREADERS=2 -DJOINERS=4 -DPOLLERS=2 -DTASKS=1 -DMORTALS=4
check sleeping -DWRITERS=2 -DSTOPPERS=2 -DROOM=2
check sleeping -DWRITERS=2 -DSTOPPERS=2 -DROOM=2 -DTASKS=4
check sleeping -DMORTALS=3
check sleeping -DMORTALS=3 -DTASKS=3
check sleeping -DWRITERS=2 -DMORTALS=3 -DTASKS=4 -DROOM=2
mistake sleeping -DNO_BARRIER
mistake sleeping -DNO_BARRIER -DTASKS=3
mistake sleeping -DWRITERS=2 -DREADERS=0 -DSYNC -DTASKS=2 -DNO_WRITER_WAKE
mistake sleeping -DWRITERS=2 -DREADERS=0 -DSYNC -DTASKS=2 -DCOUNTS_ONCE
mistake sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DREADERS_COUNT_FIRST
mistake sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DSEEN_LAST
mistake sleeping -DWRITERS=3 -DREADERS=0 -DSYNC -DSTOPPERS=1 -DCLEARS_FIRST
mistake sleeping -DJOINERS=2 -DTASKS=1 -DNO_JOIN_WAKE
mistake sleeping -DJOINERS=2 -DTASKS=1 -DNO_LEAVE_WAKE
mistake sleeping -DREADERS=2 -DJOINERS=4 -DPOLLERS=2 -DTASKS=1 -DMORTALS=4 -DLATE_JOINS
mistake sleeping -DWRITERS=2 -DSTOPPERS=2 -DROOM=2 -DCLEARS_FIRST
mistake sleeping -DWRITERS=2 -DMORTALS=3 -DTASKS=4 -DROOM=2 -DDEATH_FLAG

# Several waits of one participant.
check fan-out
check fan-out -DSTOPS=1
mistake fan-out -DOVERWRITES
mistake fan-out -DSTOPS=1 -DCLEARS_FIRST

# Work that wakes one of those who sleep: threads, tasks, and those whose wake-up comes together with their deadline.
check wake-one
check wake-one -DTASKS=1
check wake-one -DTASKS=3
check wake-one -DLEAVERS=1
check wake-one -DSLICES=1
mistake wake-one -DNO_BARRIER
mistake wake-one -DRAISES_FIRST
mistake wake-one -DLEAVERS=1 -DKEEPS_WAKE_UP
mistake wake-one -DSLICES=1 -DREUSES_ALWAYS

# Work that is set aside while others make it done, give it back and take it again, and need its room.
check set-aside
check set-aside -DWRITERS=1 -DMORTALS=10
check set-aside -DMORTALS=8
mistake set-aside -DLOOKS_NOT_AGAIN
mistake set-aside -DTAKES_AWAY_ANY
mistake set-aside -DMARKS_FIRST
mistake set-aside -DWRITERS=1 -DMORTALS=8 -DKEEPS_DEAD

# Deaths that are told while others are settled; what the dead had is given back once, by recoverers that may die.
check deaths -DMORTALS=11
check deaths -DMORTALS=11 -DNEWCOMER
check deaths -DNEWCOMER -DTHREADS
check deaths -DGIVES_BACK
mistake deaths -DMORTALS=11 -DDEATH_FLAG
mistake deaths -DMORTALS=11 -DNEWCOMER -DHELD_IS_ALIVE
mistake deaths -DNEWCOMER -DTHREADS -DBYTE_ALONE
mistake deaths -DGIVES_BACK -DRETURNS_IF_ANY

while [ "$running" -gt 0 ]; do
    wait -n
    running=$((running - 1))
done
