import Glibc
import IPC
import IPCChannels

/// Publishers and subscribers. A subscriber knows what comes next of each publisher, and at the end what must have come.
enum TopicRoles {
    static func write(_ me: Participant) async throws(IPCError) {
        let topic = try Topic<RawBytes>.open(me.plan.name)
        while me.goesOn {
            guard var publisher = try me.join({ () throws(IPCError) in try topic.makePublisher() }) else { break }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, left > 0 {
                let number = me.begin()
                try await publish(&publisher, Stamp(member: me.index, number: number), me)
                me.done()
                if me.plan.shape.durability == .whenAsked, me.random.chance(15) { try publisher.sync() }
                left -= 1
            }
            publisher.close()
            me.left()
            if me.member.session > 0 { usleep(UInt32(me.random.number(100...2000))) }
        }
    }

    /// Once all other writers are gone.
    static func close(_ me: Participant) async throws(IPCError) {
        let topic = try Topic<RawBytes>.open(me.plan.name)
        var publisher = try me.joinLast { () throws(IPCError) in try topic.makePublisher() }
        while me.ledger[.phase] == 2 {
            try await publish(
                &publisher, Stamp(member: me.index, number: Int(me.ledger[me.index, .done]), isEnd: true), me)
            usleep(1000)
        }
    }

    private nonisolated(nonsending) static func publish(
        _ publisher: inout Topic<RawBytes>.Publisher, _ stamp: Stamp, _ me: Participant
    ) async throws(IPCError) {
        let payload = Payload.make(stamp, words: stamp.isEnd ? 5 : me.words())
        let count = payload.count * 8
        let (deadline, fate) = (me.deadline, me.fate)
        let fill = { (frame: inout OutputRawSpan) throws(IPCError) in
            try fate.reach()
            frame.withUnsafeMutableBytes { buffer, initialized in
                payload.withUnsafeBytes { buffer.copyMemory(from: $0) }
                initialized = count
            }
        }
        switch me.member.way {
        case .block: try publishBlocking(&publisher, count, deadline, fill)
        case .task: try await publisher.publish(upTo: count, until: deadline, fill)
        default:
            while try !publisher.tryPublish(upTo: count, fill) {
                try await me.waits.wait(until: deadline) { () throws(IPCError) in publisher.readiness(forRoom: count) }
            }
        }
    }

    private static func publishBlocking(
        _ publisher: inout Topic<RawBytes>.Publisher, _ count: Int, _ deadline: Deadline,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        try publisher.publish(upTo: count, until: deadline, fill)
    }

    static func read(_ me: Participant) async throws(IPCError) {
        let topic = try Topic<RawBytes>.open(me.plan.name)
        var isOver = false
        var isFirst = true
        var wasLazy = false
        while me.goesOn, !isOver {
            // One that stays sees all from the beginning; one that comes later begins anywhere.
            let start: SubscriptionStart =
                isFirst && me.member.isSurvivor ? .oldest : me.random.pick([.next, .next, .oldest, .last(3)])
            let (waiting, joined) = (
                me.waiting, Joined(isComplete: isFirst && me.member.isSurvivor && me.member.session == 0)
            )
            guard
                var subscription = try me.join({ () throws(IPCError) in
                    try topic.makeSubscription(from: start, waiting: waiting)
                })
            else { break }
            isFirst = false
            var left = me.member.session > 0 ? me.member.session : .max
            if me.plan.lazyReader == me.index, !wasLazy, me.random.chance(30) {
                // Reads nothing until publishers wait for it, and leaves.
                usleep(UInt32(me.random.number(20_000...40_000)))
                left = 0
            }
            wasLazy = left == 0
            while me.goesOn, !isOver, left > 0 {
                isOver = try await receive(&subscription, joined, me)
                left -= 1
            }
            subscription.close()
            me.left()
        }
    }

    /// What one subscription has seen.
    private final class Joined {
        /// Whether it was there from the beginning.
        let isComplete: Bool
        var next: [Int: Int] = [:]
        init(isComplete: Bool) { self.isComplete = isComplete }
    }

    /// - Returns: Whether it was the last item.
    private nonisolated(nonsending) static func receive(
        _ subscription: inout Topic<RawBytes>.Subscription, _ joined: Joined, _ me: Participant
    ) async throws(IPCError) -> Bool {
        let deadline = me.deadline
        let see = { (bytes: RawSpan) throws(IPCError) in
            try me.fate.reach()
            return self.see(bytes, joined, me)
        }
        let isOver: Bool
        switch me.member.way {
        case .block, .spin: isOver = try receiveBlocking(&subscription, deadline, see)
        case .task: isOver = try await subscription.receive(until: deadline, see)
        default:
            while true {
                if let result = try subscription.tryReceive(see) {
                    isOver = result
                    break
                }
                try await me.waits.wait(until: deadline) { () throws(IPCError) in subscription.readiness() }
            }
        }
        me.checked(isEnd: isOver)
        return isOver
    }

    private static func receiveBlocking(
        _ subscription: inout Topic<RawBytes>.Subscription, _ deadline: Deadline,
        _ body: (RawSpan) throws(IPCError) -> Bool
    ) throws(IPCError) -> Bool {
        try subscription.receive(until: deadline, body)
    }

    private static func see(_ bytes: RawSpan, _ joined: Joined, _ me: Participant) -> Bool {
        guard let stamp = Payload.check(bytes) else {
            me.violation("torn message of \(bytes.byteCount) bytes after \(joined.next)")
            return false
        }
        if stamp.isEnd {
            checkEnd(joined, me)
            return true
        }
        let expected = joined.next[stamp.member]
        let first = joined.isComplete && !me.plan.shape.overwrites ? 0 : stamp.number
        if me.plan.shape.overwrites ? stamp.number < expected ?? 0 : stamp.number != expected ?? first {
            me.violation(
                "of publisher \(stamp.member) came message \(stamp.number), and \(expected ?? first) was expected")
        }
        joined.next[stamp.member] = stamp.number + 1
        return false
    }

    /// All that publishers knew to be through has come, and at most the one that each was at besides.
    private static func checkEnd(_ joined: Joined, _ me: Participant) {
        for member in me.plan.members where !member.isReader {
            let (begun, done) = (Int(me.ledger[member.index, .begun]), Int(me.ledger[member.index, .done]))
            let seen = joined.next[member.index]
            if let seen, seen > begun {
                me.violation("publisher \(member.index) began \(begun) messages, and \(seen) came")
            }
            guard !me.plan.shape.overwrites, joined.isComplete || seen != nil, seen ?? 0 < done else { continue }
            me.violation("publisher \(member.index) knew \(done) messages to be through, and \(seen ?? 0) came")
        }
    }
}
