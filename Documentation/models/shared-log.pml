/*
 * Shared writers of one log that goes round, any of which may die at any step, and two recoveries, either of which may die at any
 * step as well; a cleared slot is used again. SPIN tries every interleaving of a small case; Scripts/models.sh runs it. The steps are
 * those of LogWriter.claimShared and commit, and of Recovery.giveUpClaim, one memory access each. Positions count units of 64
 * bytes; position p lies in cell p % CAPACITY. Nothing is ever zeroed.
 *
 *   No two claims overlap, and none is both committed and skipped.   (the assertions of writer and recovery)
 *   A frame is not written over before it was read.                  (the assertion of the writer)
 *   A committed frame is read exactly once, in order, whole.         (the assertions of the reader)
 *   A dead writer's claim is skipped, its slot is free in the end.   (the assertions of init)
 *   No living writer's slot is recovered, and none by two at once.   (the assertions of recovery)
 */
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef LOG
#define LOG 4           /* positions in all */
#endif
#ifndef CAPACITY
#define CAPACITY 8      /* from LOG + 2 on, it does not go round, and there is always room */
#endif
/* Writers below this number may die. */
#ifndef MORTALS
#define MORTALS WRITERS
#endif
#ifndef RECOVERIES
#define RECOVERIES 2
#endif
#ifndef JOINS
#define JOINS 0         /* how often a cleared slot is used again */
#endif
#ifndef KILLS
#define KILLS 1         /* how many recoveries die, in all */
#endif
#define NONE 255
#define CELL(p) ((p) % CAPACITY)
#define IS_STAMPED(p) (stamp[CELL(p)] == (p) + 1)

byte tail, frontier;    /* the end of what is claimed; of what may be written over */
byte intent[WRITERS];
byte intentLength[WRITERS];
bool alive[WRITERS];
bool state[WRITERS];
byte byteLock[WRITERS]; /* of a dead writer: the recovery that holds it, + 1 */
byte gate;              /* how many hold the membership lock */
byte stamp[CAPACITY];   /* a position + 1 once that is committed; anything else of an older frame */
byte size[CAPACITY];    /* the frame's header */
byte position;          /* the reader's, which is its cursor */
byte joins, kills;

/* What is true and nobody can see, by position: who claimed it + 1, how much, whether it was stamped. */
byte owner[LOG + 3], claimed[LOG + 3];
bool isDone[LOG + 3];

/* One access to shared memory, after which the process may be no more. */
#define STEP(access) atomic { access; if :: skip :: me < MORTALS -> goto dead fi }

/* How far `me` may write. */
inline findRoom(result) {
    result = position; v = 0;
    do
    :: v < WRITERS ->
        if
        :: v != me && intent[v] < result && intent[v] < tail && tail - intent[v] <= CAPACITY && !IS_STAMPED(intent[v]) -> result = intent[v]
        :: else
        fi;
        v++
    :: else -> break
    od;
    v = 0;
    result = result + CAPACITY
}

proctype Writer(byte me) {
    byte start, length, limit, v;
    bool isOurs;

    do
    :: true ->
        if :: length = 1 :: length = 2 fi;
        start = tail;
        do
        :: start + length > LOG -> goto finished
        :: else ->
#if CAPACITY < LOG + 2
            /* Room, until there is some, or others have gone on. */
            do
            :: start + length <= limit || start + length > LOG -> break
            :: else ->
                /* Looked at before and after the frontier is raised. */
                atomic { findRoom(limit); if :: start + length > limit -> limit = 0; tail != start || position + CAPACITY >= start + length :: else fi };
                start = tail;
                if
                :: start + length <= limit ->
                    STEP(if :: frontier < start + length -> frontier = start + length :: else fi);
                    atomic { findRoom(limit); if :: limit > start + length -> limit = start + length :: else fi }
                :: else
                fi
            od;
            if :: start + length > LOG -> goto finished :: else fi;
#endif
            STEP(intentLength[me] = length);
            STEP(intent[me] = start);
            atomic {
                isOurs = (tail == start);
                if
                :: isOurs -> assert(owner[start] == 0); owner[start] = me + 1; claimed[start] = length; tail = start + length
                :: else -> skip
                fi;
                if :: skip :: me < MORTALS -> goto dead fi
            }
            if :: isOurs -> break :: else -> skip fi;
            STEP(intent[me] = NONE);
            start = tail
        od;
        assert(start + length <= position + CAPACITY);
        STEP(size[CELL(start)] = length);
        if :: length == 2 -> STEP(stamp[CELL(start + 1)] = 0) :: else fi;   /* payload */
        STEP(assert(!isDone[start] && owner[start] == me + 1); isDone[start] = true; stamp[CELL(start)] = start + 1);
        atomic { intent[me] = NONE; start = 0; length = 0; limit = 0; isOurs = false }
#ifdef ONE_CLAIM
        goto finished
#endif
    :: goto finished
    od;
dead:
    alive[me] = false;
finished:
    skip
}

/* A newcomer takes a slot that is free, and its byte. */
proctype Newcomers() {
end:
    do
    :: atomic { joins < JOINS && gate == 0 && !state[0] && byteLock[0] == 0 -> joins++; state[0] = true; alive[0] = true; run Writer(0) }
    od
}

#define IS_LEFT(n) (state[n] && !alive[n] && byteLock[n] == 0)
#if WRITERS == 2
#define IS_ANY_LEFT (IS_LEFT(0) || IS_LEFT(1))
#else
#define IS_ANY_LEFT (IS_LEFT(0) || IS_LEFT(1) || IS_LEFT(2))
#endif

/* Killed here, and run again by another: the kernel drops the locks. */
#define MAY_DIE atomic { if :: kills < KILLS -> kills++; goto again :: skip fi }

proctype Recovery(byte me) {
    byte w, v, q, end, length, winner;
    byte seen[WRITERS], seenLength[WRITERS];
    bool isContested, isBoundary, isRival, isStale;

    do
    ::
#ifdef BROKEN_GATE
        /* Threads of one membership share the description of byte 0, and those of the slots. */
        atomic { IS_ANY_LEFT && gate < 2 -> gate++ };
        w = 0;
        do :: w < WRITERS && (alive[w] || !state[w]) -> w++ :: else -> break od;
        if :: w == WRITERS -> goto again :: else fi;
        byteLock[w] = me + 1;
#else
        atomic { IS_ANY_LEFT && gate == 0 -> gate = 1 };
        w = 0;
        do :: w < WRITERS && (alive[w] || !state[w]) -> w++ :: else -> break od;
        if :: w == WRITERS -> goto again :: else fi;
        assert(byteLock[w] == 0);
        byteLock[w] = me + 1;
#endif
        q = intent[w];
        if :: q == NONE -> goto clear :: else -> skip fi;
        end = tail;
        if :: end <= q || end - q > CAPACITY || frontier > q + CAPACITY -> goto clear :: else -> skip fi;
        v = 0; isContested = false;
        do
        :: v < WRITERS ->
            seen[v] = intent[v];
            atomic {
                seenLength[v] = intentLength[v];
                if :: seen[v] == q && alive[v] -> isContested = true :: else -> skip fi;
                v++
            }
        :: else -> break
        od;
        if :: isContested -> goto again :: else -> skip fi;
#ifndef BROKEN
        if :: IS_STAMPED(q) -> goto clear :: else -> skip fi;
#endif
#ifndef STALE
        /* Its place may have been used again since the first look. */
        isStale = (frontier > q + CAPACITY);
        if :: isStale -> goto clear :: else -> skip fi;
#endif
        winner = 0; length = 1;
        do
        :: length <= 2 && winner == 0 ->
            atomic {
                v = 0; isRival = false; isBoundary = (q + length == end);
                do
                :: v < WRITERS ->
                    isRival = isRival || (seen[v] == q && seenLength[v] == length);
                    isBoundary = isBoundary || seen[v] == q + length;
                    v++
                :: else -> break
                od
            }
            isBoundary = isBoundary || IS_STAMPED(q + length);
            if :: isRival && isBoundary -> winner = length :: else -> length++ fi
        :: else -> break
        od;
        assert(winner != 0);
        if :: seenLength[w] != winner -> goto clear :: else -> skip fi;
        assert(!isDone[q] && owner[q] != 0 && claimed[q] == winner);
        size[CELL(q)] = winner;
        MAY_DIE;
        atomic { assert(!isDone[q]); isDone[q] = true; stamp[CELL(q)] = q + 1 };
        MAY_DIE;
clear:
        MAY_DIE;
        atomic { assert(!alive[w] && byteLock[w] == me + 1); intent[w] = NONE };
        MAY_DIE;
        atomic { assert(!alive[w] && byteLock[w] == me + 1); state[w] = false };
        MAY_DIE;
again:
        /* The locks go; and states which differ only in what is not used any more are one. */
        atomic {
            v = 0;
            do
            :: v < WRITERS ->
                seen[v] = 0; seenLength[v] = 0;
                if :: byteLock[v] == me + 1 -> byteLock[v] = 0 :: else fi;
                v++
            :: else -> break
            od;
            gate--;
            w = 0; v = 0; q = 0; end = 0; length = 0; winner = 0;
            isContested = false; isBoundary = false; isRival = false; isStale = false
        }
    od
}

proctype Reader() {
end:
    do
    :: atomic {
            position < LOG && IS_STAMPED(position) ->
            assert(owner[position] != 0 && size[CELL(position)] == claimed[position]);
            position = position + size[CELL(position)]
        }
    od
}

init {
    byte i;
    atomic {
        i = 0;
        do :: i < WRITERS -> intent[i] = NONE; alive[i] = true; state[i] = true; i++ :: else -> break od;
        i = 0;
        do :: i < WRITERS -> run Writer(i); i++ :: else -> break od;
        i = 0;
        do :: i < RECOVERIES -> run Recovery(i); i++ :: else -> break od;
        run Newcomers();
        run Reader();
        i = 0
    }
    /* When nobody can go on: all that was claimed has been read, or passed over; no slot is a dead one's. */
    timeout -> atomic {
        assert(position == tail);
        do :: i < WRITERS -> assert(alive[i] || !state[i]); i++ :: else -> break od
    }
}
