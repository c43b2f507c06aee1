/*
 * Shared writers of one log, any of which may die at any step, and a recovery that may die as well. Every interleaving of
 * a small case is tried by SPIN; Scripts/models.sh runs it. The steps are those of LogWriter.claimShared and commit, and of
 * Recovery.giveUpClaim, one memory access each. Positions count units of 64 bytes; nothing is overwritten.
 *
 *   No two claims overlap, and none is both committed and skipped.   (the assertions of writer and recovery)
 *   A committed frame is read exactly once, in order, whole.        (the assertions of the reader)
 *   A dead writer's claim is skipped in the end.                    (the assertion of the monitor)
 */
#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef LOG
#define LOG 5
#endif
/* Writers below this number may die. */
#ifndef MORTALS
#define MORTALS WRITERS
#endif
#define NONE 255

byte tail;
byte intent[WRITERS];
byte intentLength[WRITERS];
bool alive[WRITERS];
bool taken[WRITERS];
byte stamp[LOG + 3];    /* 0 nothing, 1 a message, 2 skipped */
byte size[LOG + 3];     /* the frame's header */
byte owner[LOG + 3];    /* what is true and nobody can see: who claimed this, 0 nobody */
byte claimed[LOG + 3];  /* and how much */

/* One access to shared memory, after which the process may be no more. */
#define STEP(access) atomic { access; if :: skip :: me < MORTALS -> goto dead fi }

proctype Writer(byte me) {
    byte start, length;
    bool isOurs;

    do
    :: true ->
        if :: length = 1 :: length = 2 fi;
        start = tail;
        do
        :: start + length > LOG -> goto finished
        :: else ->
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
        STEP(size[start] = length);
        STEP(assert(stamp[start] == 0 && owner[start] == me + 1); stamp[start] = 1);
        atomic { intent[me] = NONE; start = 0; length = 0; isOurs = false }
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

proctype Recovery() {
    byte w, v, q, end, length, winner;
    byte seen[WRITERS], seenLength[WRITERS];
    bool isContested, isBoundary, isRival;

    do
    :: w = 0;
        do :: w < WRITERS && (alive[w] || !taken[w]) -> w++ :: else -> break od;
        if
        :: w == WRITERS -> (false || !alive[0] && taken[0] || !alive[1] && taken[1]
#if WRITERS > 2
            || !alive[2] && taken[2]
#endif
            )
        :: else ->
            q = intent[w];
            if :: q == NONE -> goto clear :: else -> skip fi;
            end = tail;
            if :: end <= q -> goto clear :: else -> skip fi;
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
            if :: isContested -> goto next :: else -> skip fi;
#ifndef BROKEN
            if :: stamp[q] != 0 -> goto clear :: else -> skip fi;
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
                isBoundary = isBoundary || stamp[q + length] != 0;
                if :: isRival && isBoundary -> winner = length :: else -> length++ fi
            :: else -> break
            od;
            assert(winner != 0);
            if :: seenLength[w] != winner -> goto clear :: else -> skip fi;
            assert(stamp[q] == 0 && owner[q] != 0 && claimed[q] == winner);
            size[q] = winner;
            if :: goto next :: skip fi;     /* killed here, and run again by another */
            assert(stamp[q] == 0);
            stamp[q] = 2;
            if :: goto next :: skip fi;
clear:
            intent[w] = NONE;
            if :: goto next :: skip fi;
            taken[w] = false
        fi;
next:  skip;
        /* So that states which differ only in what is not used any more are one. */
        atomic {
            v = 0;
            do :: v < WRITERS -> seen[v] = 0; seenLength[v] = 0; v++ :: else -> break od;
            w = 0; v = 0; q = 0; end = 0; length = 0; winner = 0; isContested = false; isBoundary = false; isRival = false
        }
    od
}

byte position;

proctype Reader() {
end:
    do
    :: atomic {
            position < LOG && stamp[position] != 0 ->
            assert(owner[position] != 0 && size[position] == claimed[position]);
            position = position + size[position]
        }
    od
}

init {
    byte i;
    atomic {
        i = 0;
        do :: i < WRITERS -> intent[i] = NONE; alive[i] = true; taken[i] = true; i++ :: else -> break od;
        i = 0;
        do :: i < WRITERS -> run Writer(i); i++ :: else -> break od;
        run Recovery();
        run Reader()
    }
    /* When nobody can go on: all that was claimed has been read, or passed over. */
    timeout -> assert(position == tail)
}
