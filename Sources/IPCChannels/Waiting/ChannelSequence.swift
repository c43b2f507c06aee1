import CIPCShims
public import IPC

/// The elements that arrive over a channel, for `for try await`.
///
/// Only one loop at a time. A loop whose task is cancelled ends, and takes nothing that it does not deliver. A loop that always
/// finds something yields to other tasks from time to time.
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

/// How long a loop has used its thread, which other tasks wait for. Suspensions are not seen, so a loop that waits yields a little
/// more often than it has to.
struct Turn {
    private var steps = 0
    private var start = ipc_coarse_now()
    private static let length: UInt64 = 4_000_000

    /// Checked before each step.
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

/// Holds a participant for a sequence or a task: participants cannot be copied, and the closures that hold this box can.
final class Box<Value: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: the owner makes sure that only one task at a time uses it.
    var value: Value

    init(_ value: consuming Value) { self.value = value }
}
