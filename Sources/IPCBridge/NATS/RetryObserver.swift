#if NATS
    /// Who is told why something is tried again: for a task, and for its child tasks. Nil once it has succeeded or failed for good.
    ///
    /// A class, since a release build of 6.3.1 crashes where a function is the value of a task.
    final class RetryObserver: Sendable {
        @TaskLocal static var current: RetryObserver?

        let note: @Sendable (BridgeError?) -> Void

        init(_ note: @escaping @Sendable (BridgeError?) -> Void) { self.note = note }
    }
#endif
