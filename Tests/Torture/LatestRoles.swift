import Glibc
import IPC
import IPCChannels

/// Setters and getters. The ledger's clock orders what is known: a value is stale if its own `set` had returned before
/// another's began that had returned before the `get`, or that this getter has got before.
enum LatestRoles {
    static func write(_ me: Participant) async throws(IPCError) {
        let latest = try Latest<RawBytes>.open(me.plan.name)
        while me.goesOn {
            guard var setter = try me.join({ () throws(IPCError) in try latest.makeSetter() }) else { break }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, left > 0 {
                let number = me.begin()
                me.ledger.setItem(me.index, number, to: 0)
                let clock = me.ledger.add(.clock)
                try set(&setter, Stamp(member: me.index, number: number, clock: clock), me)
                me.ledger.setItem(me.index, number, to: UInt32(truncatingIfNeeded: me.ledger.add(.clock)))
                me.ledger.raise(.known, to: clock)
                me.done()
                left -= 1
            }
            _ = consume setter
            me.left()
            if me.member.session > 0 { usleep(UInt32(me.random.number(100...2000))) }
        }
    }

    static func close(_ me: Participant) throws(IPCError) {
        let latest = try Latest<RawBytes>.open(me.plan.name)
        var setter = try me.joinLast { () throws(IPCError) in try latest.makeSetter() }
        while me.ledger[.phase] == 2 {
            try set(&setter, Stamp(member: me.index, number: 0, clock: me.ledger.add(.clock), isEnd: true), me)
            usleep(1000)
        }
    }

    private static func set(
        _ setter: inout Latest<RawBytes>.Setter, _ stamp: Stamp, _ me: Participant
    ) throws(IPCError) {
        let payload = Payload.make(stamp, words: stamp.isEnd ? 5 : me.words())
        let count = payload.count * 8
        try setter.set(upTo: count) { (frame) throws(IPCError) in
            try me.fate.reach()
            frame.withUnsafeMutableBytes { buffer, initialized in
                payload.withUnsafeBytes { buffer.copyMemory(from: $0) }
                initialized = count
            }
        }
    }

    static func read(_ me: Participant) async throws(IPCError) {
        let latest = try Latest<RawBytes>.open(me.plan.name)
        let waiting = me.waiting
        var isOver = false
        while me.goesOn, !isOver {
            guard var getter = try me.join({ () throws(IPCError) in try latest.makeGetter(waiting: waiting) }) else {
                break
            }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, !isOver, left > 0 {
                isOver = try await get(&getter, me)
                me.checked(isEnd: isOver)
                try me.fate.reach()
                left -= 1
            }
            _ = consume getter
            me.left()
        }
    }

    /// Gets a newer value than before.
    private nonisolated(nonsending) static func get(
        _ getter: inout Latest<RawBytes>.Getter, _ me: Participant
    ) async throws(IPCError) -> Bool {
        let deadline = me.deadline
        var known = max(me.ledger[.known], me.known)
        let see = { (bytes: RawSpan) throws(IPCError) -> Stamp? in self.see(bytes, known, me) }
        switch me.member.way {
        case .block, .spin: return try nextBlocking(&getter, deadline, see)?.isEnd ?? false
        case .task: return try await getter.next(until: deadline, see)?.isEnd ?? false
        default:
            var last: Stamp?
            if let stamp = try getter.get(see) { last = stamp }
            while true {
                known = max(me.ledger[.known], me.known)
                if let stamp = try getter.get(see), let stamp, stamp != last { return stamp.isEnd }
                try await me.waits.wait(until: deadline) { () throws(IPCError) in getter.readiness() }
            }
        }
    }

    private static func nextBlocking(
        _ getter: inout Latest<RawBytes>.Getter, _ deadline: Deadline, _ body: (RawSpan) throws(IPCError) -> Stamp?
    ) throws(IPCError) -> Stamp? {
        try getter.next(until: deadline, body)
    }

    /// - Parameter known: The greatest clock of a value that was set, or got by this getter, before.
    private static func see(_ bytes: RawSpan, _ known: UInt64, _ me: Participant) -> Stamp? {
        guard let stamp = Payload.check(bytes) else {
            me.violation("torn value of \(bytes.byteCount) bytes")
            return nil
        }
        guard !stamp.isEnd else { return stamp }
        let end = me.ledger.item(stamp.member, stamp.number)
        if end != 0, UInt64(end) < known {
            me.violation(
                "got value \(stamp.number) of setter \(stamp.member), set before \(end), though one begun at \(known) was known"
            )
        }
        me.known = max(me.known, stamp.clock)
        return stamp
    }
}
