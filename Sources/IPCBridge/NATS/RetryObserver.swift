#if NATS
    /// Is told why the server is asked again, and at last that it is not any more: set for a task and for those that it starts.
    enum RetryObserver {
        @TaskLocal static var current: (@Sendable (BridgeError?) -> Void)?
    }
#endif
