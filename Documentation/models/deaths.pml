/*
 * Deaths: counted by each process that waits, and settled by whoever notices. What the dead had (jobs that they had taken) is
 * given back outside the membership lock, since it takes long; the recoverer holds the dead one's byte lock meanwhile.
 *
 * Slots 0 and 1 are workers that take a job each and may die, both at once too. Process 2 waits without a thread for jobs that
 * are given back: nothing wakes it but a signal and the kernel's word of a death. Process 3 recovers as well; it may die at each
 * step. With NEWCOMER it has no slot, so that nobody watches it: it recovers on its way to join, and takes a cleared slot, and
 * a job. With THREADS, two threads of process 2's membership recover at once: the byte lock does not tell them apart.
 *
 *   When nobody can go on, no job is a dead one's, and each job that was given back was seen by process 2.
 *   No living worker's job is given back, no living one's slot is cleared.
 */
#define NONE 255
#define JOBS 2

byte state[2];              /* of slots 0 and 1: 0 free, 1 taken, 2 being settled */
byte byteLock[2];           /* who holds it: a process + 1 */
byte owner[2];              /* what is true and nobody sees: whose slot it is, a process + 1 */
bool isDead[4];
byte gate;                  /* who holds byte 0 */
bool isGateBusy;            /* in the membership of process 2: threads exclude each other by it */
bool isSettling[2];         /* in the membership of process 2: slots that one of its threads settles */

byte job[JOBS];             /* 0 available, else the slot that has it + 1 */
byte returns, seenReturns;

/* Process 2: deaths that the kernel told, and those that it has settled. */
byte deaths, settled, told;
bool isSignalled, isWaiting;
byte rounds;

#define IS(SET, who) (((SET) >> (who)) & 1)
#define STEP(access) atomic { access; if :: skip :: IS(MORTALS, me) -> goto dead fi }
#ifndef MORTALS
#define MORTALS 3
#endif

inline lockGate() {
    atomic { gate == 0 && (me != 2 || !isGateBusy) -> gate = me + 1; if :: me == 2 -> isGateBusy = true :: else fi }
}
inline unlockGate() { atomic { gate = 0; if :: me == 2 -> isGateBusy = false :: else fi } }

/* F_OFD_SETLK: taken if nobody else's description has it. The same description gets it again. */
inline take(n, isTaken) {
    atomic {
        isTaken = (byteLock[n] == 0 || byteLock[n] == me + 1);
#ifndef BYTE_ALONE
        if :: me == 2 && isSettling[n] -> isTaken = false :: else fi;
        if :: me == 2 && isTaken -> isSettling[n] = true :: else fi;
#endif
        if :: isTaken -> byteLock[n] = me + 1 :: else fi
    }
}

/* Settles every slot whose byte can be taken. isDone: none was left, nor is another at one. */
inline recover(isDone) {
    isDone = true;
    lockGate();
    n = 0;
    do
    :: n < 2 && state[n] != 0 && owner[n] != me + 1 ->
        take(n, isTaken);
        if
        :: !isTaken ->
#ifndef HELD_IS_ALIVE
            STEP(if :: state[n] == 2 -> isDone = false :: else fi)
#else
            skip
#endif
        :: else ->
            atomic { assert(owner[n] == 0 || isDead[owner[n] - 1]) };
            STEP(state[n] = 2);
            unlockGate();
            j = 0;
            do
            :: j < JOBS ->
                STEP(isTaken = (job[j] == n + 1));
                if
                :: isTaken ->
                    STEP(if
                        :: job[j] == n + 1 -> assert(owner[n] != 0 && isDead[owner[n] - 1]); job[j] = 0; hasReturned = true
                        :: else
                        fi)
                :: else
                fi;
                j++
            :: else -> break
            od;
#ifdef RETURNS_IF_ANY
            if :: hasReturned -> STEP(returns++); STEP(isSignalled = true) :: else fi;
#else
            STEP(returns++);
            STEP(isSignalled = true);
#endif
            hasReturned = false;
            lockGate();
            STEP(assert(owner[n] != 0 && isDead[owner[n] - 1]); state[n] = 0; owner[n] = 0);
            atomic { byteLock[n] = 0; isSettling[n] = false }
        fi;
        n++
    :: n < 2 && (state[n] == 0 || owner[n] == me + 1) -> n++
    :: n == 2 -> break
    od;
    unlockGate();
    n = 0; j = 0; isTaken = false
}

#define LOCALS byte n, j, d; bool isTaken, isDone, hasReturned

/* The kernel drops the locks. */
#define ENDS dead: atomic { isDead[me] = true; \
    if :: gate == me + 1 -> gate = 0 :: else fi; \
    if :: byteLock[0] == me + 1 -> byteLock[0] = 0 :: else fi; \
    if :: byteLock[1] == me + 1 -> byteLock[1] = 0 :: else fi }; \
finished: skip

proctype Worker(byte me) {
    STEP(job[me] = me + 1);
#ifdef GIVES_BACK
    STEP(job[me] = 0);
    STEP(returns++);
    STEP(isSignalled = true);
#endif
    goto dead;      /* in the end, each does */
    ENDS
}

/* The kernel tells process 2 of each death that it watches: those of slots, and process 3 if it had one. */
proctype Kernel() {
end:
    do
    :: atomic { isDead[0] && !IS(told, 0) -> told = told | 1; deaths++ }
    :: atomic { isDead[1] && !IS(told, 1) -> told = told | 2; deaths++ }
#ifndef NEWCOMER
    :: atomic { isDead[3] && !IS(told, 3) -> told = told | 8; deaths++ }
#endif
    od
}

proctype Waiter() {
    byte me = 2;
    LOCALS;

    do
    :: atomic {
        isWaiting = true;
        /* Signals, deaths that are not settled; while something is left, a timer of 1 ms (here: until it is gone). */
        isSignalled || deaths != settled && (gate == 0 && !isGateBusy) && (state[0] != 2 || byteLock[0] == 0) && (state[1] != 2 || byteLock[1] == 0)
            -> isSignalled = false; isWaiting = false };
        seenReturns = returns;
        d = deaths;
        if
        :: d != settled ->
            recover(isDone);
#ifdef DEATH_FLAG
            d = deaths;
#endif
            if :: isDone -> settled = d :: else fi
        :: else
        fi;
        seenReturns = returns;
        isDone = false; d = 0
    od;
    ENDS
}

/* Another thread of process 2's membership: it looks every 50 ms. */
proctype Thread() {
    byte me = 2;
    LOCALS;

    do
    :: rounds < 2 -> rounds++; recover(isDone); isDone = false
    :: goto finished
    od;
    ENDS
}

proctype Other() {
    byte me = 3;
    LOCALS;

    recover(isDone);
#ifdef NEWCOMER
    lockGate();
    n = 0;
    do
    :: n < 2 && state[n] == 0 ->
        take(n, isTaken);
        if :: isTaken -> break :: else -> n++ fi
    :: n < 2 && state[n] != 0 -> n++
    :: n == 2 -> break
    od;
    if
    :: n < 2 ->
        STEP(owner[n] = 4; state[n] = 1);
        unlockGate();
        atomic { if :: job[0] == 0 -> job[0] = n + 1 :: else fi };
        goto finished
    :: else -> unlockGate()
    fi;
#endif
    goto finished;
    ENDS
}

init {
    atomic {
        state[0] = 1; state[1] = 1; owner[0] = 1; owner[1] = 2; byteLock[0] = 1; byteLock[1] = 2;
        run Worker(0);
        run Worker(1);
        run Kernel();
        run Waiter();
#ifdef THREADS
        run Thread();
#endif
        run Other()
    }
    timeout -> atomic {
        assert(isWaiting);
        assert(job[0] == 0 || owner[job[0] - 1] != 0 && !isDead[owner[job[0] - 1] - 1]);
        assert(job[1] == 0 || owner[job[1] - 1] != 0 && !isDead[owner[job[1] - 1] - 1]);
        assert(seenReturns == returns);
        assert(job[0] != 0 || job[1] != 0 || returns != 0)
    }
}
