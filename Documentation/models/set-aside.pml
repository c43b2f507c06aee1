/*
 * Work that is set aside: one message that a worker has, which becomes done or is given back and taken by another; writers that need its
 * room set it aside, move the head past it, and go round to its place; any of them may die at any step, and a recovery settles what it
 * left. One access to shared memory is one step, and sequentially consistent, as they are in SetAside.swift. Scripts/models.sh runs it.
 *
 *   Nobody writes over work that is not done.
 *   When nobody can go on, work that nobody has is found: the head has not passed it, or an entry tells of it. And no entry is left of
 *   what is done, once somebody has swept; nor one that a dead one owns.
 *
 * Actors: 1 the worker, 2 another worker, 3 and 4 writers, 5 the recovery. In MORTALS bit n stands for actor n.
 */
#ifndef MORTALS
#define MORTALS 0
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#define ENTRIES 2
#define IS(SET, who) (((SET) >> (who)) & 1)

/* The word of the work: what it is, and bit 27. NEXT is that of another frame, a lap later. */
#define AVAILABLE 0
#define TAKEN 1         /* by the worker */
#define TAKEN2 2        /* by the other */
#define DONE 3
#define NEXT 4
#define STANDS 255

byte stage = TAKEN;
bool isAside, hasPassed, isUnlisted;
byte owner[ENTRIES];
bool names[ENTRIES];    /* the entry's position is the work's */
bool isDead[6], isSettled[6];
bool isOver[6];

#if MORTALS
#define STEP(access) atomic { access; if :: skip :: IS(MORTALS, me) -> goto gone fi }
#else
#define STEP(access) atomic { access }
#endif
#define IS_DONE (stage == DONE || stage == NEXT)

/* Of an entry of one's own, or none: ENTRIES. */
inline enter() {
    free = 0;
    do
    :: free == ENTRIES -> break
    :: else ->
        STEP(isOurs = !names[free]);
        if
        :: isOurs -> STEP(isOurs = (owner[free] == 0); if :: isOurs -> owner[free] = me :: else fi)
        :: else
        fi;
        if :: isOurs -> break :: else -> free++ fi
    od;
    isOurs = false;
    if
    :: free < ENTRIES -> STEP(names[free] = true)
    :: else
    fi
}
inline drop(entry) {
    STEP(names[entry] = false);
    STEP(owner[entry] = 0)
}
inline takeAway(entry) {
#ifdef TAKES_AWAY_ANY
    STEP(isOurs = (owner[entry] != 0); if :: isOurs -> owner[entry] = me :: else fi);
#else
    STEP(isOurs = (owner[entry] == STANDS); if :: isOurs -> owner[entry] = me :: else fi);
#endif
    if
    :: isOurs ->
        STEP(isOurs = names[entry]);
        if :: isOurs -> STEP(isOurs = IS_DONE) :: else fi;
        if
        :: isOurs -> drop(entry)
        :: else -> STEP(owner[entry] = STANDS)
        fi
    :: else
    fi;
    isOurs = false
}
/* Of done work. */
inline leave() {
    e = 0;
    do
    :: e == ENTRIES -> break
    :: else ->
        STEP(isThere = names[e]);
        if :: isThere -> takeAway(e) :: else fi;
        e++
    od;
    e = 0; isThere = false
}
inline sweep() {
    e = 0;
    do
    :: e == ENTRIES -> break
    :: else ->
        STEP(isThere = names[e]);
        if :: isThere -> STEP(isThere = IS_DONE) :: else fi;
        if :: isThere -> takeAway(e) :: else fi;
        e++
    od;
    e = 0; isThere = false
}
inline stand(entry) {
    STEP(owner[entry] = STANDS);
#ifndef LOOKS_NOT_AGAIN
    STEP(isOurs = IS_DONE);
    if :: isOurs -> isOurs = false; leave() :: else fi
#endif
}

/* Makes it done; says whether it had an entry. */
inline acknowledge(mine) {
    STEP(
        isThere = false;
        if
        :: stage == mine -> stage = DONE; isThere = isAside
        :: else
        fi
    );
    if :: isThere -> isThere = false; leave() :: else fi
}
inline giveBack(mine) {
    do
    :: STEP(isOurs = (stage == mine && isAside));
        if
        :: isOurs ->
            STEP(isOurs = (stage == mine && isAside); if :: isOurs -> stage = AVAILABLE :: else fi);
            if :: isOurs -> isOurs = false; break :: else fi
        :: else ->
            enter();
            STEP(
                isOurs = (stage == mine && !isAside);
                if :: isOurs -> stage = AVAILABLE; isAside = (free < ENTRIES) :: else fi
            );
            if
            :: isOurs && free < ENTRIES -> isOurs = false; stand(free); break
            :: isOurs && free == ENTRIES -> isOurs = false; STEP(isUnlisted = true); break
            :: !isOurs && free < ENTRIES -> drop(free)
            :: else
            fi;
            if :: stage != mine -> break :: else fi
        fi
    od;
    free = ENTRIES; isOurs = false
}

proctype Worker() {
    byte me = 1, e, free = ENTRIES;
    bool isOurs, isThere;
    if
    :: acknowledge(TAKEN)
    :: giveBack(TAKEN)
    fi;
    isOver[me] = true;
    goto end;
gone: isDead[me] = true;
end: skip
}

proctype Other() {
    byte me = 2, e;
    bool isOurs, isThere;
    do
    :: atomic {
        /* By the head, or by an entry. */
        stage == AVAILABLE && (!hasPassed || names[0] || names[1] || isUnlisted) -> stage = TAKEN2
       };
        break
    :: atomic { IS_DONE -> break }
    od;
    acknowledge(TAKEN2);
    isOver[me] = true;
    goto end;
gone: isDead[me] = true;
end: skip
}

proctype Writer(byte me) {
    byte e, free = ENTRIES;
    bool isOurs, isThere;

    sweep();
    STEP(isThere = (stage == TAKEN || stage == TAKEN2) && !isAside);
    if
    :: isThere ->
        isThere = false;
#ifdef MARKS_FIRST
        STEP(if :: (stage == TAKEN || stage == TAKEN2) && !isAside -> isAside = true; isThere = true :: else fi);
        if :: isThere -> isThere = false; enter(); if :: free < ENTRIES -> stand(free) :: else fi :: else fi
#else
        enter();
        if
        :: free < ENTRIES ->
            STEP(
                isOurs = (stage == TAKEN || stage == TAKEN2) && !isAside;
                if :: isOurs -> isAside = true :: else fi
            );
            if
            :: isOurs -> isOurs = false; stand(free)
            :: else -> drop(free)
            fi
        :: else
        fi
#endif
    :: else
    fi;
    free = ENTRIES;
    /* The head: past what is done, or has its bit. */
    STEP(isThere = (stage == DONE || isAside));
    if :: isThere -> STEP(hasPassed = true) :: else fi;
    isThere = false;
    /* Room: the head, and then the entries. */
    STEP(isOurs = hasPassed);
    e = 0;
    do
    :: e == ENTRIES || !isOurs -> break
    :: else -> STEP(isOurs = !names[e]); e++
    od;
    e = 0;
    if
    :: isOurs ->
        /* It writes there. */
        STEP(assert(IS_DONE); stage = NEXT; isAside = false)
    :: else
    fi;
    isOurs = false;
    isOver[me] = true;
    goto end;
gone: isDead[me] = true;
end: skip
}

#if MORTALS
inline settle() {
    e = 0;
    do
    :: e == ENTRIES -> break
    :: else ->
        STEP(isThere = (owner[e] == dead));
        if
        :: isThere ->
            STEP(isThere = names[e]);
            if :: isThere -> STEP(isThere = !IS_DONE) :: else fi;
            if :: isThere -> STEP(isThere = isAside) :: else fi;
            if
            :: isThere ->
                STEP(owner[e] = STANDS);
                STEP(isOurs = IS_DONE);
                if :: isOurs -> isOurs = false; takeAway(e) :: else fi
#ifdef KEEPS_DEAD
            :: else
#else
            :: else -> drop(e)
#endif
            fi
        :: else
        fi;
        isThere = false;
        e++
    od;
    sweep();
    if
    :: dead == 1 -> giveBack(TAKEN)
    :: dead == 2 -> giveBack(TAKEN2)
    :: else
    fi;
    isSettled[dead] = true;
    /* If the other worker is dead there is nobody to take it again. */
    dead = 0
}

proctype Recovery() {
    byte me = 5, e, free = ENTRIES, dead;
    bool isOurs, isThere;
end:
    do
    :: atomic {
        isDead[1] && !isSettled[1] -> dead = 1
       }; settle()
    :: atomic { isDead[2] && !isSettled[2] -> dead = 2 }; settle()
    :: atomic { isDead[3] && !isSettled[3] -> dead = 3 }; settle()
    :: atomic { isDead[4] && !isSettled[4] -> dead = 4 }; settle()
    od;
gone: skip
}
#endif

init {
    byte e;
    atomic {
        run Worker();
        run Other();
        run Writer(3);
#if WRITERS > 1
        run Writer(4);
#endif
#if MORTALS
        run Recovery();
#endif
    };
end:
    timeout -> atomic {
        /* Work that nobody has is found. */
        assert(stage != AVAILABLE || !hasPassed || names[0] || names[1] || isUnlisted);
        do
        :: e == ENTRIES -> break
        :: else ->
            /* Nothing is half changed; what is left of done work goes with the next sweep. */
            assert(owner[e] == 0 || owner[e] == STANDS);
            assert(owner[e] == 0 || names[e]);
            assert(owner[e] == STANDS || !names[e]);
            /* Whoever made it done, or stood, has taken its entry away; unless he died. */
            assert(!(names[e] && IS_DONE) || MORTALS != 0);
            e++
        od
    }
}
