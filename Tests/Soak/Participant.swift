import Glibc
import IPC
import IPCChannels
import Synchronization
import TestSupport

/// One process of a run: round after round, or in one of them.
final class Participant: Sendable {
    let order: Order
    let ledger: Ledger
    /// Asked by SIGTERM to leave in order.
    private let isAsked = Atomic(false)
    private let sessions = Atomic(0)

    var index: Int { order.index }

    init(_ order: Order, _ ledger: Ledger) {
        (self.order, self.ledger) = (order, ledger)
        ledger[order.index, .state] = Ledger.State.living.rawValue
    }

    func run() async throws {
        let signals = try SignalSource([.terminate])
        let ending = Task {
            for try await _ in try signals.signals() { isAsked.store(true, ordering: .sequentiallyConsistent) }
        }
        defer { ending.cancel() }
        ledger[index, .isReady] = 1
        if order.round != nil {
            try await work()
        } else {
            while try await waitForRound() {
                try await work()
                ledger.add(index, .rounds)
            }
        }
        ledger[index, .state] = Ledger.State.ended.rawValue
    }

    /// - Returns: False if there is none any more.
    private func waitForRound() async throws -> Bool {
        while ledger.phase != .over {
            if ledger[index, .rounds] == ledger[.round], ledger.phase == .traffic { return true }
            try await Task.sleep(for: .milliseconds(2))
        }
        return false
    }

    private func work() async throws {
        let random = Seeded(order.seed ^ UInt64(index) << 32, ledger[.round])
        switch order.role {
        case .producer: try await ProducerRole.run(self, random)
        case .worker: try await WorkerRole.run(self, random)
        case .letters: try await LettersRole.run(self, random)
        case .client: try await ClientRole.run(self, random)
        case .server: try await ServerRole.run(self, random)
        }
        ledger[index, .isQuiet] = 1
    }

    /// Whether it is to go on. Who sends does so until the traffic is over; who takes, until all is done if it stays, and until the
    /// traffic is over if it came for a while.
    var goesOn: Bool {
        guard !isAsked.load(ordering: .sequentiallyConsistent) else { return false }
        let isSender = order.role == .producer || order.role == .client
        let end = isSender || order.round != nil ? Ledger.Phase.drain : .idle
        return ledger.phase.rawValue < end.rawValue
    }

    /// Whether one that sends, or sends back, may do so still.
    var mayStillSend: Bool { goesOn && ledger.phase == .traffic }

    /// Runs something in a task that is cancelled after so many milliseconds, or when it is to leave, and waits for its end.
    func run(for milliseconds: Int, _ body: @escaping @Sendable () async throws -> Void)
        async throws
    {
        let cancelled = Atomic(UInt64(0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do { try await body() } catch let error as IPCError where error.code == .cancelled {
                    // As it was asked to.
                } catch is CancellationError {}
            }
            group.addTask { [self] in
                let end = Deadline.after(.milliseconds(milliseconds))
                while goesOn, !end.hasPassed {
                    do { try await Task.sleep(for: .milliseconds(2)) } catch { return }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
            cancelled.store(MonotonicClock.now, ordering: .sequentiallyConsistent)
            group.cancelAll()
            try await group.waitForAll()
        }
        late(cancelled.load(ordering: .sequentiallyConsistent), "a loop of a \(order.role) that was cancelled ended")
    }

    // What it says.

    /// Says what is wrong: the conductor counts it.
    func violation(_ text: String) { say("violation \(name): \(text)") }

    /// Says what came after the grace, if it did: the conductor counts it if neither a stop nor the machine is to blame.
    func late(_ since: UInt64, _ text: String, grace: UInt64 = Limits.grace) {
        let now = MonotonicClock.now
        guard now > since + grace else { return }
        say("late \(index) \(since) \(now) \(grace) \(name): \(text) \((now - since) / 1_000_000) ms later")
    }

    private var name: String {
        "\(order.role) \(index)\(order.round == nil ? "" : ", a visitor")\(order.isBlocking ? ", blocking" : "")"
    }

    // What it numbers.

    /// - Returns: nil if it has no more numbers in this round.
    func nextJob() -> Item? {
        guard ledger[index, .jobs] < UInt64(Ledger.items) else { return nil }
        return Item(member: index, number: ledger.add(index, .jobs))
    }

    func nextCall() -> Item? {
        guard ledger[index, .calls] < UInt64(Ledger.items) else { return nil }
        return Item(member: index, number: ledger.add(index, .calls))
    }
}

/// Sleeps for so many microseconds, on the thread.
func rest(_ microseconds: Int) { usleep(UInt32(microseconds)) }
