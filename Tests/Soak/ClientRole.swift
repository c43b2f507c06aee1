import IPC
import IPCChannels
import TestSupport

/// Calls, and waits for the replies, cancels, lets go, or comes too late for them.
enum ClientRole {
    private typealias Pending = PendingCall<Answer, Refusal>

    static func run(_ me: Participant, _ random: Seeded) async throws {
        var random = random
        while me.mayStillSend {
            let (length, seed) = (random.length(), random.next())
            if me.order.isBlocking {
                try block(me, seed)
            } else {
                try await me.run(for: length) { try await call(me, seed) }
            }
        }
    }

    private struct Next {
        var ask: Ask
        var deadline: Deadline
        var retries: Int
    }

    private static func next(_ me: Participant, _ random: inout Seeded) -> Next? {
        guard me.mayStillSend, let item = me.nextCall() else {
            // Its numbers are used up.
            rest(2000)
            return nil
        }
        let manners: [Ask.Manner] = [.atOnce, .atOnce, .atOnce, .atOnce, .refused, .later, .later, .never, .released]
        let manner = random.pick(manners)
        let ask = Ask(item, manner, milliseconds: random.number(1...20))
        // One that is never answered keeps a turn of its server for so long.
        let milliseconds = manner == .never ? random.number(5...60) : random.pick([1, 5, 20, 100, 500, 1000])
        let next = Next(
            ask: ask, deadline: .after(.milliseconds(milliseconds)), retries: random.pick([0, 0, 0, 1, 3]))
        CallNotes(me: me).calling(ask, until: next.deadline, retries: next.retries)
        return next
    }

    private static func call(_ me: Participant, _ seed: UInt64) async throws {
        let notes = CallNotes(me: me)
        try await withThrowingTaskGroup(of: Void.self) { group in
            var random = Seeded(seed)
            var client = try Answering.open().makeClient()
            var running = 0
            while !Task.isCancelled, let next = next(me, &random) {
                let pending: Handed<Pending>
                do throws(IPCError) {
                    pending = Handed(try await client.begin(next.ask, until: next.deadline, retries: next.retries))
                } catch {
                    notes.ended(next.ask, error)
                    continue
                }
                let seed = random.next()
                group.addTask { try await wait(for: pending, next, me, Seeded(seed)) }
                running += 1
                if running >= 4 {
                    try await group.next()
                    running -= 1
                }
                if random.chance(50) { try? await Task.sleep(for: .microseconds(random.number(100...4000))) }
            }
            try await group.waitForAll()
        }
    }

    private static func wait(
        for pending: Handed<Pending>, _ next: Next, _ me: Participant, _ random: Seeded
    ) async throws {
        var random = random
        guard let call = pending.take() else { return }
        let notes = CallNotes(me: me)
        let after = random.number(0...30)
        switch random.number(0...99) {
        case 0..<10:
            // Its task is cancelled.
            let held = Handed(call)
            let waiting = Task { () async throws(IPCError) in try await held.take()?.wait() }
            try? await Task.sleep(for: .milliseconds(after))
            notes.cancelling(next.ask)
            waiting.cancel()
            try await note(next, me) { () async throws(IPCError) in
                do { return try await waiting.value } catch let error as IPCError { throw error } catch { return nil }
            }
        case 10..<20:
            try? await Task.sleep(for: .milliseconds(after))
            notes.cancelling(next.ask)
            if random.chance(50) { call.cancel() } else { _ = consume call }
            notes.dropped(next.ask)
        case 20..<25:
            // Too late, perhaps.
            try? await Task.sleep(for: .milliseconds(after * 4))
            fallthrough
        default:
            let held = Handed(call)
            try await note(next, me) { () async throws(IPCError) in try await held.take()?.wait() }
        }
    }

    private nonisolated(nonsending) static func note(
        _ next: Next, _ me: Participant,
        _ outcome: nonisolated(nonsending) () async throws(IPCError) -> Result<Answer, Refusal>?
    ) async throws(IPCError) {
        let notes = CallNotes(me: me)
        let result: Result<Answer, Refusal>?
        do throws(IPCError) { result = try await outcome() } catch { return notes.ended(next.ask, error) }
        if let result { notes.ended(next.ask, result) } else { me.violation("a call ended in no way") }
    }

    // The calls that block.

    private static func block(_ me: Participant, _ seed: UInt64) throws(IPCError) {
        var random = Seeded(seed)
        let notes = CallNotes(me: me)
        var client = try Answering.open().makeClient()
        for _ in 0..<random.number(5...80) {
            guard let next = next(me, &random) else { break }
            do throws(IPCError) {
                if random.chance(70) {
                    notes.ended(
                        next.ask, try client.call(next.ask, until: next.deadline, retries: next.retries))
                } else {
                    let call = try client.begin(next.ask, until: next.deadline, retries: next.retries)
                    rest(random.number(0...5000))
                    notes.ended(next.ask, try call.wait())
                }
            } catch {
                notes.ended(next.ask, error)
            }
            if random.chance(50) { rest(random.number(100...3000)) }
        }
    }
}
