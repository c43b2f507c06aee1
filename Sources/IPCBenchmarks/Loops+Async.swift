import CBaselines
import IPC

// The same loops by asynchronous calls.

/// One round of a measurement, as a task runs it.
struct AsyncRound: Sendable {
    let command: WorkerCommand
    let isLossy: Bool
    /// What the link's own count of messages starts at, if that is what its indices are.
    let base: UInt64
    let samples: Lent<UInt64>

    struct Outcome: Sendable {
        var elapsed: UInt64 = 0
        var received: UInt64 = 0
    }
}

/// Memory of a thread that waits, lent to a task.
@safe
struct Lent<Value: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: the lender does nothing until the task has ended.
    let pointer: UnsafeMutablePointer<Value>
    init(_ pointer: UnsafeMutablePointer<Value>) { unsafe self.pointer = pointer }
}

extension Link where Self: ~Copyable {
    nonisolated(nonsending) mutating func run(_ round: AsyncRound) async throws(IPCError) -> AsyncRound.Outcome {
        try await Loops.run(&self, round)
    }
}

extension Loops {
    static nonisolated(nonsending) func run<L: Link & ~Copyable>(
        _ link: inout L, _ round: AsyncRound
    ) async throws(IPCError) -> AsyncRound.Outcome {
        let command = round.command
        let count = command.count
        var outcome = AsyncRound.Outcome()
        switch command.action {
        case .ping: unsafe try await ping(&link, count, round.samples.pointer)
        case .echo: try await echo(&link, count)
        case .produce: try await produce(&link, count)
        case .producePaced: try await produce(&link, count, start: command.start, interval: command.interval)
        case .consume: (outcome.elapsed, outcome.received) = try await consume(&link, count, isLossy: round.isLossy)
        case .consumePaced:
            outcome.received = unsafe try await consumePaced(
                &link, count, isLossy: round.isLossy, start: command.start, interval: command.interval,
                base: round.base, round.samples.pointer)
        case .attach, .lineChoice, .linePing, .lineEcho: break
        }
        return outcome
    }

    static nonisolated(nonsending) func ping<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, _ samples: UnsafeMutablePointer<UInt64>
    ) async throws(IPCError) {
        for i in 0..<count {
            let start = cb_now()
            try await link.send(i)
            _ = try await checked(link.receive())
            unsafe samples[Int(i)] = cb_now() - start
        }
    }

    static nonisolated(nonsending) func echo<L: Link & ~Copyable>(_ link: inout L, _ count: UInt64)
        async throws(IPCError)
    {
        for i in 0..<count {
            _ = try await checked(link.receive())
            try await link.send(i)
        }
    }

    static nonisolated(nonsending) func produce<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, start: UInt64 = 0, interval: UInt64 = 0
    ) async throws(IPCError) {
        for i in 0..<count {
            if interval > 0 { cb_wait_until(start + i * interval) }
            try await link.send(i)
        }
    }

    static nonisolated(nonsending) func consume<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, isLossy: Bool
    ) async throws(IPCError) -> (elapsed: UInt64, received: UInt64) {
        var first: UInt64 = 0
        var last: UInt64 = 0
        var received: UInt64 = 0
        for i in 0..<count {
            let index = try await link.receive()
            if index == nil, isLossy { break }
            _ = try checked(index)
            if i == 0 { first = cb_now() }
            if isLossy { last = cb_now() }
            received += 1
        }
        if !isLossy { last = cb_now() }
        return (last - first, received)
    }

    static nonisolated(nonsending) func consumePaced<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, isLossy: Bool, start: UInt64, interval: UInt64, base: UInt64,
        _ samples: UnsafeMutablePointer<UInt64>
    ) async throws(IPCError) -> UInt64 {
        var received: UInt64 = 0
        for i in 0..<count {
            let index = try await link.receive()
            if index == nil, isLossy { break }
            let intended = start + (try checked(index) - base) * interval
            unsafe samples[Int(i)] = cb_now() - intended
            received += 1
        }
        return received
    }
}
