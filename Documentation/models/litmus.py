#!/usr/bin/env python3
"""Litmus tests of the orderings in the engine: whether ARMv8 allows an outcome that must not be.

Each test is one pair (or triple) of accesses as they are, with the outcome that would be a fault: it has to be forbidden. Each of
its `weakened` forms gives up one ordering that matters: the fault has to be allowed then, or the test would prove nothing.
The check is the other-multi-copy-atomic model of the ARM Architecture Reference Manual (aarch64.cat) on straight-line code:
all choices of reads-from and coherence order are tried against the axioms `internal`, `external` and `atomic`.
../weak-memory.md says in words what each test is about. Exits with 1 if a test does not come out as expected.

Events: R(location, value read), W(location, value), RMW(location, old, new), F(barrier). Kinds of loads: "" plain, A `ldar`,
Q `ldapr`; of stores: "" plain, L `stlr`. Barriers: "ish" full, "ld" loads before all. c=(n,) says that the event depends by control
on the load at position n of its thread, d=(n,) by data or address. All locations are 0 at first unless `start` says otherwise.
Tests are functions of ACQ, the kind of loads that only acquire: they are tried with `ldar` and with `ldapr`; weakened, with `ldapr`.

Sequentially consistent: `ldar`, `stlr`, `ldaxr`/`stlxr`. Acquiring: `ldar` or `ldapr`. Releasing: `stlr`.
`membarrier` is an interrupt of the waker: tried at each point of it.
"""
import itertools
import sys


def R(location, value, kind="", d=(), c=()):
    return dict(type="R", location=location, value=value, kind=kind, d=d, c=c, half=False)


def W(location, value, kind="", d=(), c=()):
    return dict(type="W", location=location, value=value, kind=kind, d=d, c=c, half=False)


def F(kind):
    return dict(type="F", kind=kind, location=None, value=None, d=(), c=(), half=False)


def RMW(location, old, new, load="A", store="L"):
    """`ldaxr` and `stlxr`; with load="" and store="", a relaxed one."""
    read, write = R(location, old, load), W(location, new, store)
    read["half"] = write["half"] = True
    return [read, write]


def flatten(thread):
    return [e for item in thread for e in (item if isinstance(item, list) else [item])]


def is_acyclic(count, edges):
    successors = [[] for _ in range(count)]
    for a, b in edges:
        successors[a].append(b)
    state = [0] * count

    def visit(v):
        state[v] = 1
        for w in successors[v]:
            if state[w] == 1 or state[w] == 0 and not visit(w):
                return False
        state[v] = 2
        return True

    return all(state[v] or visit(v) for v in range(count))


def program_order(threads, start):
    """All events, the initial writes first; program order; and the order that holds between threads (dob, bob, rmw)."""
    threads = [flatten(t) for t in threads]
    locations = sorted({e["location"] for t in threads for e in t if e["location"]})
    events = [dict(W(x, start.get(x, 0)), thread=-1) for x in locations]
    po, ordered, rmw = [], set(), []
    for number, thread in enumerate(threads):
        base = len(events)
        for i, e in enumerate(thread):
            events.append(dict(e, thread=number))
            po += [(base + j, base + i) for j in range(i)]
            ordered |= {(base + j, base + i) for j in e["d"]}
            if e["type"] == "W":
                ordered |= {(base + j, base + i) for j in e["c"]}
                if e["half"]:
                    rmw.append((base + i - 1, base + i))
    for a, b in po:
        first, second = events[a], events[b]
        if first["type"] == "R" and first["kind"] in ("A", "Q"):
            ordered.add((a, b))
        if second["type"] == "W" and second["kind"] == "L":
            ordered.add((a, b))
        if first["kind"] == "L" and second["kind"] == "A":
            ordered.add((a, b))
        for between in range(a + 1, b):
            f = events[between]
            if f["type"] == "F" and (f["kind"] == "ish" or f["kind"] == "ld" and first["type"] == "R"):
                ordered.add((a, b))
    return locations, events, po, ordered, rmw


def is_allowed(threads, start={}, end={}):
    locations, events, po, ordered, rmw = program_order(threads, start)
    count = len(events)
    writes = {x: [i for i in range(count) if events[i]["type"] == "W" and events[i]["location"] == x] for x in locations}
    reads = [i for i in range(count) if events[i]["type"] == "R"]
    sources = [[w for w in writes[events[r]["location"]] if events[w]["value"] == events[r]["value"]] for r in reads]
    po_loc = [(a, b) for a, b in po if events[a]["location"] and events[a]["location"] == events[b]["location"]]

    def external(pairs):
        return {(a, b) for a, b in pairs if events[a]["thread"] != events[b]["thread"]}

    for orders in itertools.product(*[[(w[0],) + p for p in itertools.permutations(w[1:])] for w in writes.values()]):
        if any(events[o[-1]]["value"] != end.get(events[o[-1]]["location"], events[o[-1]]["value"]) for o in orders):
            continue
        rank = {w: i for o in orders for i, w in enumerate(o)}
        co = [(a, b) for o in orders for i, a in enumerate(o) for b in o[i + 1:]]
        for chosen in itertools.product(*sources):
            rf = list(zip(chosen, reads))
            fr = [(r, b) for w, r in rf for b in writes[events[r]["location"]] if rank[b] > rank[w]]
            if not is_acyclic(count, po_loc + rf + co + fr):
                continue
            fre, coe = external(fr), external(co)
            if any((r, m) in fre and (m, w) in coe for r, w in rmw for m in range(count)):
                continue
            forwarded = {
                (w, r) for w, r in rf
                if events[w]["thread"] == events[r]["thread"] and events[w]["half"] and events[r]["kind"] in ("A", "Q")
            }
            if is_acyclic(count, list(external(rf) | coe | fre | ordered | forwarded) + rmw):
                return True
    return False


class Each(list):
    """Several programs, of which none may show the outcome."""


def insert(thread, at, events):
    """The thread with events at a point; what depends on a load by its place still does."""
    moved = [dict(e, d=tuple(j + len(events) * (j >= at) for j in e["d"]), c=tuple(j + len(events) * (j >= at) for j in e["c"]))
             for e in thread]
    return moved[:at] + events + moved[at:]


def with_membarrier(waker, sleeper, last_look):
    """The kernel interrupts the waker at each point, where it makes a full barrier, and lets the sleeper go on afterwards."""
    waker = flatten(waker)
    interrupted = [R("interrupt", 1, "A"), F("ish"), W("acknowledged", 1, "L")]
    asks = [F("ish"), W("interrupt", 1), R("acknowledged", 1, "A"), F("ish")]
    return Each([insert(waker, at, interrupted), flatten(sleeper) + asks + last_look] for at in range(len(waker) + 1))


A, Q, L = "A", "Q", "L"
tests = []


def test(name, threads, start={}, end={}, **weakened):
    """`threads` and each of `weakened`: a function of the kind of loads that only acquire."""
    tests.append((name, threads, start, end, weakened))


# --- To see that the checker can tell -------------------------------------------------------------------------------------
test("store buffering, sequentially consistent",
     lambda ACQ: [[W("x", 1, L), R("y", 0, A)], [W("y", 1, L), R("x", 0, A)]],
     acquiring_as_ldapr=lambda ACQ: [[W("x", 1, L), R("y", 0, Q)], [W("y", 1, L), R("x", 0, Q)]],
     plain_stores=lambda ACQ: [[W("x", 1), R("y", 0, A)], [W("y", 1), R("x", 0, A)]])
test("independent reads of independent writes",
     lambda ACQ: [[W("x", 1)], [W("y", 1)], [R("x", 1, ACQ), R("y", 0)], [R("y", 1, ACQ), R("x", 0)]],
     plain_loads=lambda ACQ: [[W("x", 1)], [W("y", 1)], [R("x", 1), R("y", 0)], [R("y", 1, ACQ), R("x", 0)]])

# --- Messages ----------------------------------------------------------------------------------------------------------
test("stamp: header and payload are seen with it",
     lambda ACQ: [[W("payload", 1), W("stamp", 1, L)], [R("stamp", 1, ACQ), R("payload", 0)]],
     stamp_stored_plain=lambda ACQ: [[W("payload", 1), W("stamp", 1)], [R("stamp", 1, ACQ), R("payload", 0)]],
     stamp_loaded_plain=lambda ACQ: [[W("payload", 1), W("stamp", 1, L)], [R("stamp", 1), R("payload", 0, c=(0,))]])
test("cursor: written over only after the reader's loads",
     lambda ACQ: [[R("payload", 1), W("cursor", 1, L)], [R("cursor", 1, A), W("payload", 1, c=(0,))]],
     cursor_stored_plain=lambda ACQ: [[R("payload", 1), W("cursor", 1)], [R("cursor", 1, A), W("payload", 1, c=(0,))]])
test("work head: written over only after the last look at what is done",
     lambda ACQ: [[R("word", 1, ACQ), RMW("head", 0, 1)], [R("head", 1, A), W("word", 1, c=(0,))]],
     head_moved_relaxed=lambda ACQ: [[R("word", 1), RMW("head", 0, 1, "", "")], [R("head", 1, A), W("word", 1, c=(0,))]])
test("intent before tail: a claim has an owner",
     lambda ACQ: [[W("intent", 1, L), RMW("tail", 0, 1)], [R("tail", 1, A), R("intent", 0, A)]],
     tail_moved_relaxed=lambda ACQ: [[W("intent", 1, L), RMW("tail", 0, 1, "", "")], [R("tail", 1, A), R("intent", 0, A)]],
     tail_loaded_plain=lambda ACQ: [[W("intent", 1, L), RMW("tail", 0, 1)], [R("tail", 1), R("intent", 0, A)]])
test("length before intent",
     lambda ACQ: [[W("length", 1), W("intent", 1, L)], [R("intent", 1, A), R("length", 0)]],
     intent_stored_plain=lambda ACQ: [[W("length", 1), W("intent", 1)], [R("intent", 1, A), R("length", 0)]],
     intent_loaded_plain=lambda ACQ: [[W("length", 1), W("intent", 1, L)], [R("intent", 1), R("length", 0)]])
test("stamp before the intent is given up: recovery sees one or the other",
     lambda ACQ: [[W("stamp", 1, L), W("intent", 9, L)], [R("intent", 9, A), R("stamp", 0, ACQ)]],
     intent_given_up_plain=lambda ACQ: [[W("stamp", 1, L), W("intent", 9)], [R("intent", 9, A), R("stamp", 0, ACQ)]],
     intent_loaded_plain=lambda ACQ: [[W("stamp", 1, L), W("intent", 9, L)], [R("intent", 9), R("stamp", 0, ACQ)]])
test("latest: the frame is seen by whoever sees its position",
     lambda ACQ: [[W("payload", 1), W("stamp", 1, L), RMW("latest", 0, 1)], [R("latest", 1, ACQ), R("payload", 0)]],
     raised_relaxed=lambda ACQ: [[W("payload", 1), RMW("latest", 0, 1, "", "")], [R("latest", 1, ACQ), R("payload", 0)]],
     loaded_plain=lambda ACQ: [[W("payload", 1), W("stamp", 1, L), RMW("latest", 0, 1)], [R("latest", 1), R("payload", 0)]])
test("latest before the intent is given up: recovery raises what a dead setter did not",
     lambda ACQ: [[RMW("latest", 0, 1), W("intent", 9, L)], [R("intent", 9, A), R("latest", 0, ACQ)]],
     intent_given_up_plain=lambda ACQ: [[RMW("latest", 0, 1, "A", ""), W("intent", 9)], [R("intent", 9, A), R("latest", 0, ACQ)]])

# --- Logs that overwrite, and go round ------------------------------------------------------------------------------------
overwriter = [RMW("reserved", 0, 4), F("ish"), W("header", 2)]
test("header copied, then the reserved end",
     lambda ACQ: [overwriter, [R("stamp", 0, ACQ), R("header", 2), F("ld"), R("reserved", 0, ACQ)]],
     no_fence=lambda ACQ: [overwriter, [R("stamp", 0, ACQ), R("header", 2), R("reserved", 0, ACQ, c=(1,))]],
     writer_without_fence=lambda ACQ: [[RMW("reserved", 0, 4, "A", ""), W("header", 2)],
                                      [R("stamp", 0, ACQ), R("header", 2), F("ld"), R("reserved", 0, ACQ)]])
test("payload copied, then the reserved end",
     lambda ACQ: [[RMW("reserved", 0, 4), F("ish"), W("a", 2), W("b", 2)],
                  [R("a", 2), R("b", 0), F("ld"), R("reserved", 0, ACQ)]],
     no_fence=lambda ACQ: [[RMW("reserved", 0, 4), F("ish"), W("a", 2), W("b", 2)], [R("a", 2), R("b", 0), R("reserved", 0, ACQ)]])
test("stamp of a stale intent, then the reserved end again (recovery)",
     lambda ACQ: [[RMW("reserved", 0, 4), F("ish"), W("stamp", 2)], [R("intent", 0, A), R("stamp", 2, ACQ), F("ld"), R("reserved", 0, A)]],
     looked_at_before=lambda ACQ: [[RMW("reserved", 0, 4), F("ish"), W("stamp", 2)],
                                   [R("intent", 0, A), R("reserved", 0, A), R("stamp", 2, ACQ)]],
     no_order=lambda ACQ: [[RMW("reserved", 0, 4), F("ish"), W("stamp", 2)], [R("intent", 0, A), R("stamp", 2), R("reserved", 0, Q)]])
test("work's header copied, then the head",
     lambda ACQ: [[R("head", 1, A), W("header", 2, c=(0,))], [RMW("head", 0, 1)], [R("header", 2), F("ld"), R("head", 0)]],
     no_fence=lambda ACQ: [[R("head", 1, A), W("header", 2, c=(0,))], [RMW("head", 0, 1)], [R("header", 2), R("head", 0, c=(0,))]])

test("what is set aside: its entry, its bit, the head that passes it",
     lambda ACQ: [[W("entry", 1, L), RMW("word", 0, 1)], [R("word", 1, A), RMW("head", 0, 1)], [R("head", 1, A), R("entry", 0, A)]],
     head_loaded_plain=lambda ACQ: [[W("entry", 1, L), RMW("word", 0, 1)], [R("word", 1, A), RMW("head", 0, 1)],
                                    [R("head", 1), R("entry", 0)]],
     entry_after_the_bit=lambda ACQ: [[RMW("word", 0, 1), W("entry", 1, L)], [R("word", 1, A), RMW("head", 0, 1)],
                                      [R("head", 1, A), R("entry", 0, A)]])

# --- Store mine, look at yours --------------------------------------------------------------------------------------------
test("reader joins: its first cursor against the reserved end",
     lambda ACQ: [[RMW("reserved", 0, 8), F("ish"), R("cursor", 9, A)], [W("cursor", 0, L), R("reserved", 0, A)]], start={"cursor": 9},
     reserved_end_as_ldapr=lambda ACQ: [[RMW("reserved", 0, 8), F("ish"), R("cursor", 9, A)], [W("cursor", 0, L), R("reserved", 0, Q)]],
     cursor_stored_plain=lambda ACQ: [[RMW("reserved", 0, 8), F("ish"), R("cursor", 9, A)], [W("cursor", 0), R("reserved", 0, A)]],
     writer_without_fence=lambda ACQ: [[RMW("reserved", 0, 8), R("cursor", 9)], [W("cursor", 0, L), R("reserved", 0, A)]])
test("reader joins: its first cursor against the tail",
     lambda ACQ: [[RMW("tail", 0, 4), RMW("reserved", 0, 8), F("ish"), R("cursor", 9, A)], [W("cursor", 0, L), R("tail", 0, A)]],
     start={"cursor": 9},
     tail_as_ldapr=lambda ACQ: [[RMW("tail", 0, 4), RMW("reserved", 0, 8), F("ish"), R("cursor", 9, A)],
                                [W("cursor", 0, L), R("tail", 0, Q)]],
     cursor_stored_plain=lambda ACQ: [[RMW("tail", 0, 4), RMW("reserved", 0, 8), F("ish"), R("cursor", 9, A)],
                                      [W("cursor", 0), R("tail", 0, A)]])
test("work that is done takes its entry away, or the entry's owner does",
     lambda ACQ: [[RMW("word", 0, 2), R("owner", 0, A)], [W("owner", 1, L), R("word", 0, A)]],
     word_as_ldapr=lambda ACQ: [[RMW("word", 0, 2), R("owner", 0, A)], [W("owner", 1, L), R("word", 0, Q)]],
     owner_stored_plain=lambda ACQ: [[RMW("word", 0, 2), R("owner", 0, A)], [W("owner", 1), R("word", 0, A)]])
test("joins against sleeps: the newcomer signals, or the sleeper sees it",
     lambda ACQ: [[RMW("joins", 0, 1), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R("joins", 0, A)]],
     joins_added_relaxed=lambda ACQ: [[RMW("joins", 0, 1, "", ""), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R("joins", 0, A)]],
     sleeps_as_ldapr=lambda ACQ: [[RMW("joins", 0, 1), R("sleeps", 0, Q)], [RMW("sleeps", 0, 1), F("ish"), R("joins", 0, A)]])
test("joins against sleeps where the sleeper's kernel refuses membarrier",
     lambda ACQ: [[RMW("joins", 0, 1), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), R("joins", 0, A)]],
     joins_as_ldapr=lambda ACQ: [[RMW("joins", 0, 1), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), R("joins", 0, Q)]])
newcomer = [W("state", 1), W("used", 1, L), RMW("joins", 0, 1)]
test("joins: the newcomer's slot is seen with it",
     lambda ACQ: [newcomer, [R("joins", 1, A), R("used", 1, ACQ), R("state", 0)]],
     joins_loaded_plain=lambda ACQ: [[W("state", 1), RMW("joins", 0, 1)], [R("joins", 1), R("state", 0)]],
     joins_added_relaxed=lambda ACQ: [[W("state", 1), RMW("joins", 0, 1, "", "")], [R("joins", 1, A), R("state", 0)]])
test("joins: the number of slots is seen with it",
     lambda ACQ: [newcomer, [R("joins", 1, A), R("used", 0, ACQ)]],
     joins_loaded_plain=lambda ACQ: [newcomer, [R("joins", 1), R("used", 0, ACQ)]],
     joins_added_relaxed=lambda ACQ: [[W("state", 1), W("used", 1, L), RMW("joins", 0, 1, "", "")], [R("joins", 1, A), R("used", 0, ACQ)]])
test("done and done: one of two acknowledgements moves the head over both",
     lambda ACQ: [[RMW("w0", 1, 2), R("head", 0, A), R("w1", 1, A)], [RMW("w1", 1, 2), R("head", 0, A), R("w0", 1, A)]],
     start={"w0": 1, "w1": 1},
     words_as_ldapr=lambda ACQ: [[RMW("w0", 1, 2), R("head", 0, Q), R("w1", 1, Q)], [RMW("w1", 1, 2), R("head", 0, Q), R("w0", 1, Q)]],
     done_relaxed=lambda ACQ: [[RMW("w0", 1, 2, "", ""), R("head", 0, A), R("w1", 1, A)],
                               [RMW("w1", 1, 2), R("head", 0, A), R("w0", 1, A)]])
test("done and head: one makes work done while another moves the head up to it",
     lambda ACQ: [[RMW("w1", 1, 2), R("head", 0, A)], [RMW("head", 0, 1), R("w1", 1, A)]], start={"w1": 1},
     word_as_ldapr=lambda ACQ: [[RMW("w1", 1, 2), R("head", 0, A)], [RMW("head", 0, 1), R("w1", 1, Q)]],
     head_as_ldapr=lambda ACQ: [[RMW("w1", 1, 2), R("head", 0, Q)], [RMW("head", 0, 1), R("w1", 1, A)]])
for name, store in [("event: notices against sleeps", "notices"), ("event: rounds against sleeps", "rounds"),
                    ("work head against sleeps", "head"), ("returns against sleeps", "returns"),
                    ("reply's word against the caller's sleeps", "word")]:
    test(name,
         lambda ACQ, x=store: [[RMW(x, 0, 1), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R(x, 0, ACQ)]],
         sleeps_as_ldapr=lambda ACQ, x=store: [[RMW(x, 0, 1), R("sleeps", 0, Q)], [RMW("sleeps", 0, 1), F("ish"), R(x, 0, ACQ)]],
         store_relaxed=lambda ACQ, x=store: [[RMW(x, 0, 1, "", ""), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R(x, 0, ACQ)]])
test("joined reader's start against sleeps",
     lambda ACQ: [[W("cursor", 1, L), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R("cursor", 0, A)]],
     sleeps_as_ldapr=lambda ACQ: [[W("cursor", 1, L), R("sleeps", 0, Q)], [RMW("sleeps", 0, 1), F("ish"), R("cursor", 0, A)]])
test("removed against sleeps",
     lambda ACQ: [[W("removed", 1, L), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R("removed", 0, ACQ)]],
     removed_stored_plain=lambda ACQ: [[W("removed", 1), R("sleeps", 0, A)], [RMW("sleeps", 0, 1), F("ish"), R("removed", 0, ACQ)]],
     sleeps_as_ldapr=lambda ACQ: [[W("removed", 1, L), R("sleeps", 0, Q)], [RMW("sleeps", 0, 1), F("ish"), R("removed", 0, ACQ)]])
test("sync: a job made done before is on the disk, whose target is loaded after",
     lambda ACQ: [[W("stamp", 1, L), RMW("tail", 0, 1), W("told", 1, L)], [R("told", 1, ACQ), R("tail", 0, A)]],
     told_plain=lambda ACQ: [[W("stamp", 1, L), RMW("tail", 0, 1, "", ""), W("told", 1)], [R("told", 1, ACQ), R("tail", 0, A)]])

# --- Waking ----------------------------------------------------------------------------------------------------------
for name, store in [("stamp", W("x", 1, L)), ("cursor", W("x", 1, L))]:
    test(f"{name} against sleeps: the waker has no fence, the sleeper's membarrier strikes it anywhere",
         lambda ACQ, store=store: with_membarrier([store, R("sleeps", 0)], [RMW("sleeps", 0, 1)], [R("x", 0, ACQ)]),
         no_membarrier=lambda ACQ, store=store: [[store, R("sleeps", 0)], [RMW("sleeps", 0, 1), F("ish"), R("x", 0, ACQ)]],
         look_before_it=lambda ACQ, store=store: with_membarrier([store, R("sleeps", 0)], [RMW("sleeps", 0, 1), R("x", 0, ACQ)], []))
test("stamp against sleeps where membarrier is refused: a fence on both sides",
     lambda ACQ: [[W("stamp", 1, L), F("ish"), R("sleeps", 0)], [RMW("sleeps", 0, 1), F("ish"), R("stamp", 0, ACQ)]],
     waker_without=lambda ACQ: [[W("stamp", 1, L), R("sleeps", 0, ACQ)], [RMW("sleeps", 0, 1), F("ish"), R("stamp", 0, ACQ)]],
     sleeper_without=lambda ACQ: [[W("stamp", 1, L), F("ish"), R("sleeps", 0)], [RMW("sleeps", 0, 1), R("stamp", 0, Q)]])
test("word, then sleeps: a waker that counts the sleep sees its word",
     lambda ACQ: [[RMW("word", 0, 1), RMW("sleeps", 0, 1)], [R("sleeps", 0), F("ish"), R("sleeps", 1, A), R("word", 0, A)]],
     sleeps_added_relaxed=lambda ACQ: [[RMW("word", 0, 1, "A", ""), RMW("sleeps", 0, 1, "", "")], [R("sleeps", 1, A), R("word", 0, A)]],
     sleeps_loaded_plain=lambda ACQ: [[RMW("word", 0, 1), RMW("sleeps", 0, 1)], [R("sleeps", 1), R("word", 0)]])
test("word, then sleeps: nor an older word behind the sleep of another",
     lambda ACQ: [[RMW("word", 5, 6), RMW("sleeps", 0, 1)], [RMW("sleeps", 1, 2)], [R("sleeps", 2, A), R("word", 5, A)]],
     start={"word": 5},
     a_store_instead_of_an_addition=lambda ACQ: [[RMW("word", 5, 6), W("sleeps", 1)], [W("sleeps", 2)], [R("sleeps", 2, A), R("word", 5, A)]],
     sleeps_loaded_plain=lambda ACQ: [[RMW("word", 5, 6), RMW("sleeps", 0, 1)], [RMW("sleeps", 1, 2)], [R("sleeps", 2), R("word", 5)]])
test("wakes, then sleeps: a thread does not count the wake-up that is meant for it as an earlier one",
     lambda ACQ: [[R("wakes", 1, ACQ), RMW("sleeps", 0, 1)], [R("sleeps", 1, A), RMW("wakes", 0, 1)]],
     both_relaxed=lambda ACQ: [[R("wakes", 1), RMW("sleeps", 0, 1, "", "")], [R("sleeps", 1), RMW("wakes", 0, 1, "", "")]])
test("woken is raised last: who sees it sees the wake-ups",
     lambda ACQ: [[RMW("wakes", 0, 1), RMW("woken", 0, 1)], [R("woken", 1, ACQ), R("wakes", 0, ACQ)]],
     raised_relaxed=lambda ACQ: [[RMW("wakes", 0, 1, "A", ""), RMW("woken", 0, 1, "", "")], [R("woken", 1, ACQ), R("wakes", 0, ACQ)]])


def outcome(programs, start, end):
    programs = programs if isinstance(programs, Each) else [programs]
    return any(is_allowed(p, start, end) for p in programs)


failures, count = 0, 0
for name, threads, start, end, weakened in tests:
    wrong = [f"allowed with {kind}" for kind, k in (("ldar", A), ("ldapr", Q)) if outcome(threads(k), start, end)]
    wrong += [f"forbidden although weakened: {w.replace('_', ' ')}" for w, t in weakened.items() if not outcome(t(Q), start, end)]
    count += 2 + len(weakened)
    failures += bool(wrong)
    for what in wrong:
        print(f"{name}: {what}", file=sys.stderr)
print(f"litmus: {len(tests)} tests, {count} programs, {failures} not as expected")
sys.exit(failures > 0)
