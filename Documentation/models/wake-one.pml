/*
 * Work wakes one of those who sleep for it: workers as threads (futex) and as tasks (a word that names a FIFO), of which some stop waiting
 * when their deadline has passed; producers that send a job each. See sleeping.pml for the steps, and
 * WaitQueue.wakeOne, WorkTaker.takeLater for what is modelled. A thread may look up for nothing, as after 50 ms, and sleeps again
 * by its old count if nobody was woken since. Who has taken a job comes back for another, or is busy with it for ever. Deaths are not
 * modelled: what they leave is found at the next look. Scripts/models.sh runs it.
 *
 *   When nobody can go on, nobody sleeps while there is a job that nobody has.
 *
 * In TASKS, LEAVERS and SLICES bit n stands for worker n.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef TASKS
#define TASKS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#ifndef SLICES
#define SLICES 0        /* threads that look up once for nothing */
#endif
#define IS(SET, who) (((SET) >> (who)) & 1)

byte sleeps, woken, wakes;
/* A job that has not reached memory yet; one that has; one that somebody has. */
bool buffered[PRODUCERS], job[PRODUCERS], taken[PRODUCERS];
bool isAsleep[WORKERS], isParked[WORKERS], word[WORKERS], signalled[WORKERS];
bool hasLooked[WORKERS];    /* after a slice */

#define STEP(access) atomic { access }

inline drainAll() {
    d_step { i = 0; do :: i == PRODUCERS -> break :: else -> if :: buffered[i] -> job[i] = true; buffered[i] = false :: else fi; i++ od; i = 0 }
}
/* One look through the log. */
inline look() {
    d_step {
        isThere = false; i = 0;
        do :: i == PRODUCERS -> break :: else -> if :: job[i] && !taken[i] -> isThere = true :: else fi; i++ od;
        i = 0
    }
}
/* Takes what is there; of two who are at it, one is the first. */
inline take() {
    d_step {
        isThere = false; i = 0;
        do
        :: i == PRODUCERS -> break
        :: else -> if :: job[i] && !taken[i] -> taken[i] = true; isThere = true; break :: else -> i++ fi
        od;
        i = 0
    }
}

inline wakeOne() {
    STEP(s = sleeps);
    STEP(wakes++);
    /* FUTEX_WAKE of one, the first or the last of those who sleep. */
    STEP(
        if
        :: isAsleep[0] -> isAsleep[0] = false; count = 1
        :: isAsleep[WORKERS - 1] -> isAsleep[WORKERS - 1] = false; count = 1
        :: WORKERS > 2 && isAsleep[1] -> isAsleep[1] = false; count = 1
        :: else -> count = 0
        fi
    );
#ifdef RAISES_FIRST
    if :: true -> STEP(if :: woken < s -> woken = s :: else fi) fi;
#endif
    if
    :: count == 0 ->
#if TASKS
        do
        :: n == WORKERS -> break
        :: n < WORKERS && !IS(TASKS, n) -> n++
        :: n < WORKERS && IS(TASKS, n) -> STEP(if :: word[n] -> signalled[n] = true :: else fi; n++)
        od;
        n = 0;
#endif
        STEP(if :: woken < s -> woken = s :: else fi)
    :: else
    fi;
    s = 0; count = 0; isThere = false
}

proctype Thread(byte me) {
    byte i, n, s, count, seen, ticket, countedAt;
    bool isThere, isCounted, hasEnded;

    do
    :: hasEnded -> break
    :: else ->
        STEP(take());
        if
        :: isThere -> isThere = false
        :: isThere -> isThere = false; goto gone   /* busy with it for ever */
        :: else ->
            STEP(seen = wakes);
            if
#ifdef REUSES_ALWAYS
            :: isCounted -> skip
#else
            :: isCounted && countedAt == seen ->
                STEP(isCounted = (woken < ticket))
#endif
            :: else -> isCounted = false
            fi;
            if
            :: isCounted
            :: else ->
                STEP(sleeps++; ticket = sleeps);
                isCounted = true; countedAt = seen;
#ifndef NO_BARRIER
                STEP(drainAll())        /* membarrier */
#endif
            fi;
            STEP(look());
            if
            :: isThere
            :: else ->
                STEP(if :: wakes == seen -> isAsleep[me] = true :: else fi);
                if
                :: !isAsleep[me]
                :: atomic { IS(SLICES, me) && isAsleep[me] && !hasLooked[me] -> hasLooked[me] = true; isAsleep[me] = false }
                :: IS(LEAVERS, me) -> atomic { isAsleep[me] = false; hasEnded = true }
                fi
            fi;
            if
            :: hasEnded ->
                /* The wake-up may have come with the deadline. */
#ifndef KEEPS_WAKE_UP
                STEP(look());
                if
                :: isThere ->
                    STEP(isThere = (sleeps != woken));
                    if :: isThere -> wakeOne() :: else fi
                :: else
                fi
#endif
            :: else
            fi
        fi
    od;
gone: skip
}

/* And the thread of its process that reads its FIFO. */
proctype Task(byte me) {
    byte i, n, s, count;
    bool isThere;

    do
    :: STEP(take());
        if
        :: isThere -> isThere = false
        :: isThere -> isThere = false; goto gone
        :: else ->
            STEP(word[me] = true);
            STEP(sleeps++);
#ifndef NO_BARRIER
            STEP(drainAll());
#endif
            STEP(look());
            if
            :: isThere
            :: else ->
                isParked[me] = true;
                atomic { signalled[me] -> signalled[me] = false; isParked[me] = false }
            fi;
            word[me] = false
        fi
    od;
gone: skip
}

proctype Producer(byte me) {
    byte n, s, count;
    bool isThere;

    STEP(buffered[me] = true);
    STEP(s = sleeps);
    STEP(isThere = (s != woken));
    if
    :: isThere ->
        atomic { if :: buffered[me] -> job[me] = true; buffered[me] = false :: else fi };   /* a fence */
        wakeOne()
    :: else
    fi;
gone: skip
}

/* Memory takes what is buffered whenever it likes. */
active proctype Memory() {
end:
    do
    :: atomic { buffered[0] -> job[0] = true; buffered[0] = false }
#if PRODUCERS > 1
    :: atomic { buffered[1] -> job[1] = true; buffered[1] = false }
#endif
    od
}

init {
    byte i, n;
    bool isThere;
    atomic {
        do
        :: n == WORKERS -> break
        :: else -> if :: IS(TASKS, n) -> run Task(n) :: else -> run Thread(n) fi; n++
        od;
        n = 0;
        do :: n == PRODUCERS -> break :: else -> run Producer(n); n++ od;
        n = 0
    };
end:
    timeout -> atomic {
        look();
        do
        :: n == WORKERS -> break
        :: else -> assert(!isThere || !(isAsleep[n] || isParked[n])); n++
        od
    }
}
