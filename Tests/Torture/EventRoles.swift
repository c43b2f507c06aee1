import Glibc
import IPC
import IPCChannels

/// Those that notify, and those that wait: each notice ends one wait.
enum EventRoles {
    static func write(_ me: Participant) async throws(IPCError) {
        let event = try Event.open(me.plan.name)
        while me.goesOn {
            guard let participant = try me.join({ () throws(IPCError) in try event.makeParticipant() }) else { break }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, left > 0 {
                _ = me.begin()
                participant.notify()
                me.done()
                me.ledger.add(.given)
                try me.fate.reach()
                left -= 1
            }
            _ = consume participant
            me.left()
            if me.member.session > 0 { usleep(UInt32(me.random.number(100...2000))) }
        }
    }

    static func close(_ me: Participant) throws(IPCError) {
        let participant = try Event.open(me.plan.name).makeParticipant()
        while me.ledger[.phase] == 2 {
            participant.notify()
            me.ledger.add(.given)
            usleep(500)
        }
        checkEnd(participant.pending, me)
    }

    /// Each that was killed may have given, or taken, one that it did not count.
    private static func checkEnd(_ pending: Int, _ me: Participant) {
        let killed = { (isReader: Bool) in
            me.plan.members.count { $0.isReader == isReader && !$0.isSurvivor && me.ledger.state($0.index) != .ended }
        }
        let (given, taken) = (Int(me.ledger[.given]), Int(me.ledger[.taken]))
        guard given <= taken + pending + killed(true), taken + pending <= given + killed(false) else {
            return me.violation("\(given) notices were given, \(taken) taken, and \(pending) are left")
        }
    }

    static func read(_ me: Participant) async throws(IPCError) {
        let event = try Event.open(me.plan.name)
        let waiting = me.waiting
        var isOver = false
        while me.goesOn, !isOver {
            guard var participant = try me.join({ () throws(IPCError) in try event.makeParticipant(waiting: waiting) })
            else {
                break
            }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, !isOver, left > 0 {
                try await wait(&participant, me)
                me.ledger.add(.taken)
                isOver = me.ledger[.phase] >= 2
                me.checked(isEnd: isOver)
                try me.fate.reach()
                left -= 1
            }
            _ = consume participant
            me.left()
        }
    }

    private nonisolated(nonsending) static func wait(
        _ participant: inout Event.Participant, _ me: Participant
    ) async throws(IPCError) {
        let deadline = me.deadline
        switch me.member.way {
        case .block, .spin: try waitBlocking(participant, deadline)
        case .task: try await participant.wait(until: deadline)
        default:
            while !participant.tryWait() {
                try await me.waits.wait(until: deadline) { () throws(IPCError) in participant.readiness() }
            }
        }
    }

    private static func waitBlocking(_ participant: borrowing Event.Participant, _ deadline: Deadline) throws(IPCError)
    {
        try participant.wait(until: deadline)
    }
}
