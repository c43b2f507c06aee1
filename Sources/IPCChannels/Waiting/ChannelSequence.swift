public import IPC

/// What comes over a channel, as it comes: for `for try await`.
///
/// One loop at a time. A loop whose task is cancelled ends, and nothing was taken that it did not hand over.
public struct ChannelSequence<Element>: AsyncSequence {
    typealias Take = nonisolated(nonsending) () async throws(IPCError) -> Element

    let take: Take

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let take: Take

        public mutating func next() async throws(IPCError) -> Element? { try await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> Element? {
            try await endingWhenCancelled(take)
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(take: take) }
}

/// A participant that a sequence, or a task, holds: those cannot be copied, and closures can.
final class Held<Participant: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: who holds it sees to it that one task at a time uses it.
    var participant: Participant

    init(_ participant: consuming Participant) { self.participant = participant }
}
