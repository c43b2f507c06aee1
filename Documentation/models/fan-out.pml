/*
 * Several waits of one participant: two tasks on two event loops, each with a FIFO of its own, and one word in their slot. The word
 * names the only FIFO in use, or else the process's shared one, from which the process resumes all waits of the participant. Two
 * others let one wait each go on; one of them may stop for ever at any step. See sleeping.pml for the steps.
 *
 *   When nobody can go on, no wait is left whose condition holds, unless he who made it true last has stopped.
 */
#define NONE 0
#define SHARED 3
#define ROUNDS 1        /* how often each task waits */

byte sleeps, woken, word;
bool signalled[4];      /* FIFOs: 1 and 2 of the tasks' loops, 3 the shared one */
bool resumed[2];
/* Of the process, under its lock: which tasks wait. */
byte waits;
byte stage[2];          /* what each task waits for is this far ... */
byte seen[2];           /* ... beyond this */
bool isParked[2], isStopped[2];
byte last;
/* A commit that has not reached memory yet. */
byte buffered[2];

#define IS(SET, who) (((SET) >> (who)) & 1)
#define STEP(access) atomic { access; if :: skip :: me == 1 && STOPS -> goto stopped fi }
#ifndef STOPS
#define STOPS 0
#endif

inline drain(who) { if :: buffered[who] != 0 -> stage[who] = buffered[who]; buffered[who] = 0; last = who :: else fi }

inline chooseWord() {
#ifdef OVERWRITES
    word = me + 1
#else
    word = (waits == 3 -> SHARED : (waits == 0 -> NONE : me + 1))
#endif
}

proctype Task(byte me) {
    do
    :: seen[me] == ROUNDS -> break
    :: else ->
        /* Under the lock, with an exchange: the word is the shared FIFO's from the second wait on, until the last is over. */
        atomic {
            waits = waits | (1 << me); resumed[me] = false;
            if :: word == NONE || waits == 3 -> chooseWord() :: else fi
        };
        sleeps++;
        atomic { drain(0); drain(1) };      /* membarrier */
        if
        :: stage[me] > seen[me]
        :: else ->
            isParked[me] = true;
            atomic { resumed[me] -> isParked[me] = false; resumed[me] = false }
        fi;
        atomic {
            waits = waits & ~(1 << me);
            if :: waits == 0 -> word = NONE :: else fi
        };
        if :: stage[me] > seen[me] -> seen[me]++ :: else fi
    od
}

/* The threads that read the FIFOs. A wait is registered before its word is stored, and resumed whether it is parked yet or not. */
proctype Process() {
end:
    do
    :: atomic { signalled[1] -> signalled[1] = false; if :: IS(waits, 0) -> resumed[0] = true :: else fi }
    :: atomic { signalled[2] -> signalled[2] = false; if :: IS(waits, 1) -> resumed[1] = true :: else fi }
    :: atomic {
        signalled[SHARED] -> signalled[SHARED] = false;
        if :: IS(waits, 0) -> resumed[0] = true :: else fi;
        if :: IS(waits, 1) -> resumed[1] = true :: else fi
       }
    :: atomic { buffered[0] != 0 -> drain(0) }
    :: atomic { buffered[1] != 0 -> drain(1) }
    od
}

proctype Waker(byte me) {
    byte s, w, next = 1;
    bool isSame;

    do
    :: next > ROUNDS -> break
    :: else ->
        STEP(drain(me); buffered[me] = next);
        STEP(s = sleeps);
        STEP(isSame = (s == woken));
        if
        :: isSame
        :: else ->
            STEP(drain(me); s = sleeps);
#ifdef CLEARS_FIRST
            STEP(if :: woken < s -> woken = s :: else fi);
#endif
            STEP(w = word);
            if :: w != NONE -> STEP(signalled[w] = true) :: else fi;
            STEP(if :: woken < s -> woken = s :: else fi)
        fi;
        next++; s = 0; w = NONE; isSame = false
    od;
    goto finished;
stopped: isStopped[me] = true;
finished: skip
}

init {
    atomic {
        run Task(0);
        run Task(1);
        run Process();
        run Waker(0);
        run Waker(1)
    }
    timeout -> atomic {
        assert(!isParked[0] || stage[0] <= seen[0] || isStopped[last]);
        assert(!isParked[1] || stage[1] <= seen[1] || isStopped[last])
    }
}
