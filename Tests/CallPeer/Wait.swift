import IPC

/// A call that waits for something that does not come: a row of the table of deadlines.
struct Wait: Sendable {
    /// What it covers, as ``PublicCalls`` writes it.
    let calls: [String]
    let make: @Sendable () throws -> Case

    init(_ calls: String..., make: @escaping @Sendable () throws -> Case) {
        self.calls = calls
        self.make = make
    }

    /// Objects in a state in which the call waits.
    struct Case {
        enum Call {
            /// Returns false if it was not ready before the deadline, or throws an error that says so.
            case blocking(@Sendable (Deadline) throws -> Bool)
            case suspending(@Sendable (Deadline) async throws -> Bool)
        }
        let call: Call
        /// Makes it ready; called once, by the thread that made the case.
        let release: () throws -> Void
        /// Calls that never wait, by name: each returns whether it was ready.
        var tries: [(String, () throws -> Bool)] = []
        /// Whether it may be ready from the beginning: where nothing that a test can do keeps it waiting.
        var mayBeReady = false
        /// Whether it has to be released before it goes: a thread's lock would lie in memory that is there no more.
        var mustBeReleased = false
        /// Whether the release waits for the call, so that it needs a thread of its own.
        var isReleasedByCall = false
    }
}

/// Fills something by a call that does not wait.
func fill(_ attempt: () throws -> Bool) throws {
    var count = 0
    while try attempt() {
        count += 1
        try require(count < 1_000_000, "an end")
    }
}
