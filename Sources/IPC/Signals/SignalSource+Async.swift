// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension SignalSource {
    /// Waits for the next signal, suspended meanwhile.
    ///
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/cancelled``, and no signal was taken.
    public nonisolated(nonsending) borrowing func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Received {
        try await Reactor.attempting(
            .readable, of: descriptor.rawValue, until: deadline, "wait for", sink.names
        ) { () throws(IPCError) in try tryNext() }
    }

    /// The signals as they come: `for try await received in try SignalSource([.terminate]).signals()`.
    ///
    /// It shares what the source gets, and may outlive it. A loop whose task is cancelled ends, and no signal is lost.
    public borrowing func signals() throws(IPCError) -> Signals { Signals(source: SharedReference(SignalSource(sink))) }

    /// Signals as they come; see ``signals()``.
    public struct Signals: AsyncSequence, Sendable {
        fileprivate let source: SharedReference<SignalSource>

        public struct Iterator: AsyncIteratorProtocol {
            fileprivate let source: SharedReference<SignalSource>

            public mutating func next() async throws(IPCError) -> Received? { try await next(isolation: nil) }

            public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> Received? {
                try await endingWhenCancelled { () async throws(IPCError) in try await source.value.next() }
            }
        }

        public func makeAsyncIterator() -> Iterator { Iterator(source: source) }
    }
}
