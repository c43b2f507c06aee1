import CIPCShims
public import IPC

/// What comes over a channel, as it comes: for `for try await`.
///
/// One loop at a time. A loop whose task is cancelled ends, and nothing was taken that it did not hand over. One that always finds
/// something gives way to other tasks now and then.
public struct ChannelSequence<Element>: AsyncSequence {
    typealias Take = nonisolated(nonsending) () async throws(IPCError) -> Element

    let take: Take

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let take: Take
        private var turn = Turn()

        fileprivate init(take: @escaping Take) { self.take = take }

        public mutating func next() async throws(IPCError) -> Element? { try await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> Element? {
            if turn.isOver { await Task.yield() }
            return try await endingWhenCancelled(take)
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(take: take) }
}

/// How long a loop has had its thread, which other tasks wait for. Suspensions are not seen: a loop that waits gives way a little more
/// often than it need.
struct Turn {
    private var steps = 0
    private var start = ipc_coarse_now()
    private static let length: UInt64 = 4_000_000

    /// Asked before each step.
    var isOver: Bool {
        mutating get {
            steps &+= 1
            guard steps % 16 == 0 else { return false }
            let now = ipc_coarse_now()
            guard now &- start >= Self.length else { return false }
            start = now
            return true
        }
    }
}

/// A participant that a sequence, or a task, holds: those cannot be copied, and closures can.
final class Held<Participant: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: who holds it sees to it that one task at a time uses it.
    var participant: Participant

    init(_ participant: consuming Participant) { self.participant = participant }
}
