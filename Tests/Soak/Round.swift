import IPC
import IPCChannels
import TestSupport

/// Some seconds of traffic, and then the end of all that was sent.
final class Round {
    private let conductor: Conductor
    private let number: Int
    private var random: Seeded
    private var ledger: Ledger { conductor.ledger }

    init(_ conductor: Conductor, _ number: Int) {
        (self.conductor, self.number) = (conductor, number)
        random = Seeded(conductor.options.seed, UInt64(number))
    }

    /// - Returns: What was wrong.
    func run() throws(IPCError) -> [String] {
        let kills = ledger[.killsBegun]
        let dropped = try Queue.allCases.map { queue throws(IPCError) in try Letters.dropped(queue) }
        try traffic()
        try drain()
        ledger.phase = .letters
        try conductor.wait("all letters collected") { () throws(IPCError) in
            for queue in Queue.allCases where try !Letters.isEmpty(queue) { return false }
            return true
        }
        ledger.phase = .idle
        try conductor.wait("all idle") { conductor.residents.allSatisfy { ledger[$0.order.index, .rounds] > number } }
        // Those that stay, and have left their queues.
        for member in conductor.residents { Settling.left(member.order.index, ledger) }
        var problems = conductor.said()
        if conductor.isInterrupted { return problems }
        for (queue, before) in zip(Queue.allCases, dropped) {
            let most = try Letters.dropped(queue) - before + (ledger[.killsBegun] - kills)
            problems += JobChecks.run(queue, ledger, dropped: most, &conductor.totals)
        }
        return problems + CallChecks.run(ledger, &conductor.totals)
    }

    /// Visitors come and go, and those that stay are stopped for a while.
    private func traffic() throws(IPCError) {
        ledger.phase = .traffic
        let end = MonotonicClock.now + UInt64(random.number(2000...5000)) * 1_000_000
        let most = random.number(1...5)
        // Some rounds have no deaths: then what is allowed because of them is not.
        let isPeaceful = number % 5 == 4
        var (nextVisitor, nextStop) = (UInt64(0), UInt64(0))
        while MonotonicClock.now < end, !conductor.isInterrupted {
            let now = MonotonicClock.now
            if now >= nextVisitor, conductor.visitors.count < most, let index = conductor.nextIndex {
                nextVisitor = now + UInt64(random.number(10...200)) * 1_000_000
                let roles: [Role] = [
                    .worker, .worker, .worker, .server, .server, .client, .client, .producer, .letters,
                ]
                let (role, isBlocking, fate) = (random.pick(roles), random.chance(40), Fate.any(&random))
                try conductor.start(index, role, round: number, isBlocking: isBlocking, isPeaceful ? .stays : fate)
            }
            if now >= nextStop {
                nextStop = now + UInt64(random.number(100...800)) * 1_000_000
                let length = UInt64(random.number(1...Int(Limits.stop / 1_000_000))) * 1_000_000
                random.pick(conductor.residents).stop(now, for: length)
                conductor.totals.stops += 1
            }
            conductor.step()
        }
    }

    /// Until all that was sent is done, nobody is stopped or dead, and what the dead had is recovered.
    private func drain() throws(IPCError) {
        ledger.phase = .drain
        try conductor.wait("all visitors gone") { conductor.visitors.isEmpty }
        try conductor.wait("all quiet") {
            conductor.residents.allSatisfy { member in
                [.worker, .server].contains(member.order.role) || ledger[member.order.index, .isQuiet] != 0
            }
        }
        let names = Queue.allCases.map(\.name) + [Answering.name]
        var last = ""
        let isDone = try conductor.wait("all done") { () throws(IPCError) in
            for name in names {
                let channel = try ChannelDescription(ChannelName(name))
                let dead = channel.participants.count { !$0.isAlive }
                guard channel.messageCount + channel.takenCount + channel.asideCount + dead > 0 else { continue }
                last =
                    "\(name) has \(channel.messageCount) messages, \(channel.takenCount) taken, \(channel.asideCount) aside, "
                    + "\(dead) dead participants"
                return false
            }
            return true
        }
        if !isDone, !conductor.isInterrupted { conductor.add(last) }
    }
}
