/*
 * Sleeping and waking: writers that wait for room, readers that wait for the next frame, somebody who syncs, as threads (futex)
 * and as tasks (a word in the slot that names a FIFO), while others join, leave, die, and stop for ever. One access to shared
 * memory is one step; plain stores wait in a buffer of their process (TSO) until it, or a membarrier, drains it.
 * Scripts/models.sh runs it.
 *
 * No maximum sleep and no timer is modelled for orderly events: when nobody can go on, nobody sleeps whose condition holds.
 *   - A thread is excused if what it waits for came last from a process that died or stopped in the middle (it looks again
 *     after 50 ms); it sees to the dead when it looks.
 *   - A task is excused only if that process stopped (its process's timer looks again); deaths have to be told.
 *
 * Participants are numbered, writers first, then readers; in TASKS, MORTALS, STOPPERS, JOINERS and POLLERS
 * (readers that do not sleep) bit n stands for number n.
 */
#ifndef WRITERS
#define WRITERS 1       /* the last is the one that syncs, with SYNC */
#endif
#ifndef READERS
#define READERS 1
#endif
#define COUNT (WRITERS + READERS)
#ifndef FRAMES
#define FRAMES 2        /* in all */
#endif
#ifndef ROOM
#define ROOM 1          /* how many frames the log holds */
#endif
#ifndef TASKS
#define TASKS 0
#endif
#ifndef MORTALS
#define MORTALS 0
#endif
#ifndef STOPPERS
#define STOPPERS 0
#endif
#ifndef JOINERS
#define JOINERS 0       /* readers that join later, and may leave */
#endif
#define IS(SET, who) (((SET) >> (who)) & 1)
#define NOBODY 255

/* The wait queues of readers (0) and writers (1). */
#define QUEUE(who) (who < WRITERS -> 1 : 0)
byte sleeps[2], woken[2], wakes[2];

/* Each participant's slot. */
byte state[COUNT];
byte cursor[COUNT];     /* readers: all before it was read */
byte intent[COUNT];     /* writers: the claim under way */
bool word[COUNT];       /* names the FIFO of a task that sleeps */

byte joins, tail, gate;
byte toldOf;            /* whose deaths the kernel has told */
bool committed[FRAMES + 1];

/* Each process: what has not reached memory yet (1 a commit, 2 a cursor), its FIFO, its sleep, what it knows of deaths. */
byte buffered[COUNT], bufferedValue[COUNT];
bool signalled[COUNT], isAsleep[COUNT], isParked[COUNT];
byte deaths[COUNT], settled[COUNT];
byte watches[COUNT];    /* set of participants */
byte waitsFor[COUNT];   /* the frame of a reader; of a syncing writer, how many */
/* The kernel. */
bool isDead[COUNT], isStopped[COUNT];
/* What nobody can see: who let others go on last. */
byte enabler[2];

/* One access to shared memory, after which the process may be no more, or stand still. */
#if MORTALS
#define STEP(access) atomic { access; if :: skip :: IS(MORTALS, me) -> goto dead fi }
#elif STOPPERS
#define STEP(access) atomic { access; if :: skip :: IS(STOPPERS, me) && gate != me + 1 -> goto stopped fi }
#else
#define STEP(access) atomic { access }
#endif

inline drain(who) {
    if
    :: buffered[who] == 1 -> committed[bufferedValue[who]] = true; enabler[0] = who; enabler[1] = who
    :: buffered[who] == 2 -> cursor[who] = bufferedValue[who]; enabler[1] = who
    :: else
    fi;
    buffered[who] = 0; bufferedValue[who] = 0
}

/* A plain store: of two, the first has to go first. */
inline store(kind, value) { drain(me); buffered[me] = kind; bufferedValue[me] = value }

inline membarrier() {
#ifdef NO_BARRIER
    drain(me)
#else
    k = 0; do :: k < COUNT -> drain(k); k++ :: else -> break od; k = 0
#endif
}

inline raise(queue) { drain(me); if :: woken[queue] < s -> woken[queue] = s :: else fi }

/* Writes into the FIFO of each slot of the queue that has a word. */
inline signal(queue) {
    i = (queue -> 0 : WRITERS);
    do
    :: i < (queue -> WRITERS : COUNT) -> STEP(if :: word[i] -> signalled[i] = true :: else fi; i++)
    :: else -> break
    od
}

/* Where there are several writers, those that wait, who may wait for a claim of another, count among the readers, too. */
#if WRITERS > 1
#define COUNTS_IN_BOTH 1
#else
#define COUNTS_IN_BOTH 0
#endif

/* Who has seen that so many have counted themselves. */
inline finishWake(queue) {
#ifdef CLEARS_FIRST
    STEP(raise(queue));
#endif
    STEP(wakes[queue]++);
    STEP(i = 0; do :: i < COUNT -> if :: QUEUE(i) == queue -> isAsleep[i] = false :: else fi; i++ :: else -> break od; i = 0);
    signal(queue);
#ifndef CLEARS_FIRST
    STEP(raise(queue))
#endif
}

/* After a commit, a cursor: two plain loads, and nothing more while nobody sleeps. */
inline wakeOwn(queue) {
    STEP(s = sleeps[queue]);
    STEP(isSame = (s == woken[queue]));
    if
    :: isSame
    :: else -> STEP(drain(me); s = sleeps[queue]); finishWake(queue)
    fi;
    s = 0; i = 0; isSame = false
}

inline wake(queue) {
#if COUNTS_IN_BOTH
    if
    :: queue == 0 ->
        STEP(s = sleeps[0]);
        STEP(isSame = (s == woken[0]));
        if
        :: isSame
        :: else ->
#ifndef SEEN_LAST
            STEP(drain(me); t = sleeps[0]);
#endif
#ifndef NO_WRITER_WAKE
            wakeOwn(1);     /* before `woken` is raised: of those that count here by now, nobody else would hear */
#endif
#ifdef SEEN_LAST
            STEP(drain(me); t = sleeps[0]);
#endif
            s = t; t = 0;
            finishWake(0)
        fi;
        s = 0; i = 0; isSame = false
    :: else -> wakeOwn(1)
    fi
#else
    wakeOwn(queue)
#endif
}

/* About to sleep. */
inline announce(queue) {
#if COUNTS_IN_BOTH && defined(READERS_COUNT_FIRST)
    if :: queue == 1 -> STEP(drain(me); sleeps[0]++) :: else fi;
#endif
    STEP(drain(me); sleeps[queue]++);
#if COUNTS_IN_BOTH && !defined(READERS_COUNT_FIRST) && !defined(COUNTS_ONCE)
    if :: queue == 1 -> STEP(sleeps[0]++) :: else fi;
#endif
}

inline lowest(result) {
    result = NOBODY - ROOM; k = WRITERS;
    do :: k < COUNT -> if :: cursor[k] < result -> result = cursor[k] :: else fi; k++ :: else -> break od;
    k = 0
}

/* What a participant waits for. */
inline look(who, result) {
    if
    :: who >= WRITERS -> result = committed[waitsFor[who]]
    :: who < WRITERS && waitsFor[who] == NOBODY -> lowest(m); result = (tail < m + ROOM); m = 0
    :: else ->
        result = true; k = 0;
        do :: k < waitsFor[who] -> result = result && committed[k]; k++ :: else -> break od;
        k = 0
    fi
}

/* Under the lock: what the dead hold. */
inline recover() {
    found = false; v = 0;
    do
    :: v < COUNT ->
        if
        :: state[v] && isDead[v] ->
            found = true;
            if
            :: v < WRITERS && intent[v] != NOBODY ->
                STEP(if :: !committed[intent[v]] -> committed[intent[v]] = true; enabler[0] = me; enabler[1] = me :: else fi);
                STEP(intent[v] = NOBODY)
            :: v >= WRITERS -> STEP(cursor[v] = NOBODY; enabler[1] = me)
            :: else
            fi;
            STEP(state[v] = 0)
        :: else
        fi;
        v++
    :: else -> break
    od;
    v = 0;
    /* Whoever died may have let others go on, and not woken them. */
    do
    :: found && v < 2 -> wake(v); v++
    :: else -> break
    od;
    v = 0; found = false
}

inline lock() { STEP(gate == 0 -> gate = me + 1) }
inline unlock() { STEP(gate = 0) }

/* Whether a recovery would find something: what a thread that looks every 50 ms goes by. */
#define IS_LEFT(n) (isDead[n] && state[n])
#if COUNT == 2
#define IS_ANY_LEFT (gate == 0 && (IS_LEFT(0) || IS_LEFT(1)))
#elif COUNT == 3
#define IS_ANY_LEFT (gate == 0 && (IS_LEFT(0) || IS_LEFT(1) || IS_LEFT(2)))
#else
#define IS_ANY_LEFT (gate == 0 && (IS_LEFT(0) || IS_LEFT(1) || IS_LEFT(2) || IS_LEFT(3)))
#endif

inline sleepAsThread(queue) {
    STEP(seen = wakes[queue]);
    announce(queue);
    STEP(membarrier());
    STEP(look(me, isReady));
    if
    :: isReady
    :: else ->
        STEP(isAsleep[me] = (wakes[queue] == seen));
        atomic { !isAsleep[me] || IS_ANY_LEFT -> isAsleep[me] = false; mustRecover = IS_ANY_LEFT }
    fi;
    seen = 0; isReady = false
}

inline sleepAsTask(queue) {
    /* Where somebody has joined since the last look, watches all who take part. One that is dead counts as a death that was told. */
    STEP(j = joins + 1);
    v = (j == looked -> COUNT : 0);
    looked = j;
    do
    :: v < COUNT ->
        STEP(if
            :: v != me && state[v] && !IS(watches[me], v) ->
                watches[me] = watches[me] | (1 << v); if :: isDead[v] -> deaths[me]++ :: else fi
            :: else
            fi;
            v++)
    :: else -> break
    od;
    v = 0;
    mustRecover = (deaths[me] != settled[me]);
    if
    :: mustRecover
    :: else ->
        STEP(drain(me); word[me] = true);
        announce(queue);
        STEP(membarrier());
        STEP(look(me, isReady));
        if
        :: isReady
        :: else ->
            STEP(isReady = (joins + 1 != j));
            if
            :: isReady
            :: else ->
                atomic { isParked[me] = true };
                atomic { signalled[me] || deaths[me] != settled[me] -> signalled[me] = false; isParked[me] = false }
            fi
        fi;
        STEP(word[me] = false)
    fi;
    j = 0; isReady = false
}

inline wait(queue) {
    STEP(look(me, isReady));
    do
    :: isReady -> break
    :: else ->
#if TASKS
        if :: IS(TASKS, me) -> sleepAsTask(queue) :: else -> sleepAsThread(queue) fi;
#else
        sleepAsThread(queue);
#endif
#if MORTALS
        if
        :: mustRecover ->
            d = deaths[me];
            lock(); recover(); unlock();
#ifdef DEATH_FLAG
            d = deaths[me];     /* a flag that is taken down afterwards */
#endif
            settled[me] = d; mustRecover = false; d = 0
        :: else
        fi;
#endif
        STEP(look(me, isReady))
    od;
    isReady = false
}

#define LOCALS byte i, k, s, t, m, v, j, d, seen, looked; bool isReady, isSame, found, mustRecover

/* What the kernel does at a death; and of one who stops, nothing. */
#define ENDS \
dead: atomic { drain(me); isDead[me] = true; isAsleep[me] = false; isParked[me] = false; if :: gate == me + 1 -> gate = 0 :: else fi; goto finished }; \
stopped: atomic { isStopped[me] = true; isAsleep[me] = false; isParked[me] = false }; \
finished: skip

proctype Writer(byte me) {
    byte mine = NOBODY;
    LOCALS;

    do
    :: tail == FRAMES -> break
    :: else ->
        atomic {    /* claims, as in shared-log.pml */
            lowest(m);
            if :: tail < FRAMES && tail < m + ROOM -> mine = tail; intent[me] = tail; tail++ :: else fi;
            m = 0
        }
        if
        :: mine == NOBODY && tail < FRAMES -> wait(1)
        :: mine == NOBODY && tail == FRAMES
        :: else ->
            STEP(skip);     /* fills */
            STEP(store(1, mine));
            atomic { mine = NOBODY; if :: MORTALS == 0 -> intent[me] = NOBODY :: else -> drain(me); intent[me] = NOBODY fi };
            wake(0)
        fi
    od;
    goto finished;
    ENDS
}

proctype Syncer(byte me) {
    LOCALS;

    waitsFor[me] = tail;
    wait(1);
    goto finished;
    ENDS
}

proctype Reader(byte me) {
    LOCALS;

    if
    :: IS(JOINERS, me) ->
        lock();
#ifdef LATE_JOINS
        STEP(state[me] = 1);
#else
        STEP(state[me] = 1);
        STEP(drain(me); joins++);
        STEP(isSame = (sleeps[0] == woken[0]));
        if :: isSame :: else -> signal(0) fi;
        STEP(isSame = (sleeps[1] == woken[1]));
        if :: isSame :: else -> signal(1) fi;
        isSame = false; i = 0;
#endif
        STEP(cursor[me] = 0);
        STEP(waitsFor[me] = tail);
        STEP(cursor[me] = waitsFor[me]; enabler[1] = me);
#ifndef NO_JOIN_WAKE
        wake(1);
#endif
        unlock()
    :: else
    fi;
    do
    :: waitsFor[me] == FRAMES -> break
    :: IS(JOINERS, me) -> break
    :: else ->
#ifdef POLLERS
        if :: IS(POLLERS, me) -> committed[waitsFor[me]] :: else -> wait(0) fi;
#else
        wait(0);
#endif
        waitsFor[me]++;
        STEP(store(2, waitsFor[me]));
        wake(1)
    od;
    if
    :: IS(JOINERS, me) ->
        /* stays, or leaves */
        if :: goto finished :: skip fi;
        lock();
        STEP(drain(me); cursor[me] = NOBODY; enabler[1] = me);
        STEP(state[me] = 0);
#ifndef NO_LEAVE_WAKE
        wake(1);
#endif
        unlock()
    :: else
    fi;
    goto finished;
    ENDS
}

/* Stores reach memory some day. Deaths are told by a pidfd. */
proctype Kernel() {
    byte p, v;
end:
    do
    :: atomic { buffered[0] -> drain(0) }
    :: atomic { buffered[1] -> drain(1) }
#if COUNT > 2
    :: atomic { buffered[2] -> drain(2) }
#endif
#if COUNT > 3
    :: atomic { buffered[3] -> drain(3) }
#endif
#if MORTALS
#define TELL(n) :: atomic { isDead[n] && !IS(toldOf, n) -> toldOf = toldOf | (1 << n); v = n; p = 0; \
        do :: p < COUNT -> if :: IS(watches[p], v) -> deaths[p]++ :: else fi; p++ :: else -> break od; p = 0; v = 0 }
    TELL(0)
    TELL(1)
#if COUNT > 2
    TELL(2)
#endif
#if COUNT > 3
    TELL(3)
#endif
#endif
    od
}

init {
    byte i, k, m;
    bool holds;
    atomic {
        do
        :: i < COUNT ->
            intent[i] = NOBODY;
            cursor[i] = (i < WRITERS || IS(JOINERS, i) -> NOBODY : 0);
            state[i] = !IS(JOINERS, i);
            if :: i < WRITERS -> waitsFor[i] = NOBODY :: else fi;
            i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < COUNT ->
            if
#ifdef SYNC
            :: i == WRITERS - 1 -> run Syncer(i)
            :: i < WRITERS - 1 -> run Writer(i)
#else
            :: i < WRITERS -> run Writer(i)
#endif
            :: i >= WRITERS -> run Reader(i)
            fi;
            i++
        :: else -> break
        od;
        run Kernel();
        i = 0
    }
    timeout -> atomic {
        do
        :: i < COUNT ->
            look(i, holds);
            assert(!holds || !(isAsleep[i] || isParked[i]) || isStopped[enabler[QUEUE(i)]] || isAsleep[i] && isDead[enabler[QUEUE(i)]]);
            /* Nobody waits while a dead one still has its slot. */
            k = 0;
            do :: k < COUNT -> assert(!(isAsleep[i] || isParked[i]) || !isDead[k] || !state[k]); k++ :: else -> break od;
            k = 0;
            i++
        :: else -> break
        od
    }
}
