import IPC
import TestSupport

/// A call that needs something of the system: a row of the table of failures.
struct Operation: Sendable {
    /// What it covers, as ``PublicCalls`` writes it.
    let calls: [String]
    /// How it is told.
    let name: String
    let make: @Sendable () throws -> Attempt

    init(_ calls: String..., make: @escaping @Sendable () throws -> Attempt) {
        (self.calls, self.name, self.make) = (calls, calls[0], make)
    }

    private init(_ calls: [String], _ name: String, make: @escaping @Sendable () throws -> Attempt) {
        (self.calls, self.name, self.make) = (calls, name, make)
    }
}

/// A call, with the objects that it needs. It runs in the ``ObservedThread``, all else in the thread that made it.
struct Attempt {
    let call: () throws -> Void
    /// Takes back what a success did.
    let undo: () throws -> Void
    /// After a failure: what has to be there for ``again``.
    let makeReady: () throws -> Void
    /// Has to succeed after a failure, in the thread of the call: the objects are as before.
    let again: () throws -> Void
    /// Whether that is the same call, to be taken back as well.
    let isSameCall: Bool
    /// After all, however it ended.
    let end: () -> Void

    /// - Parameter again: What succeeds after a failure; the same call unless it is said.
    init(
        undo: @escaping () throws -> Void = {}, makeReady: @escaping () throws -> Void = {},
        again: (() throws -> Void)? = nil, end: @escaping () -> Void = {}, _ call: @escaping () throws -> Void
    ) {
        (self.call, self.undo, self.makeReady, self.again, self.end) = (call, undo, makeReady, again ?? call, end)
        isSameCall = again == nil
    }

    init(
        undo: @escaping () throws -> Void = {}, again: (() throws -> Void)? = nil, end: @escaping () -> Void = {},
        suspending call: @escaping @Sendable () async throws -> Void
    ) {
        self.init(undo: undo, again: again, end: end) { try ObservedThread.shared.finish(call) }
    }
}

extension Operation {
    /// What a wait is here: given up, because it is not ready; ready at once; and asked without waiting.
    static func rows(of wait: Wait) -> [Operation] {
        let patience = Duration.seconds(20)
        return [
            Operation(wait.calls, wait.calls[0] + " in vain") {
                let made = try wait.make()
                return Attempt(
                    undo: made.mustBeReleased ? made.release : {},
                    makeReady: made.isReleasedByCall ? {} : made.release,
                    again: {
                        if made.isReleasedByCall { return }
                        try require(try perform(made.call, .after(patience)), "readiness")
                    }
                ) {
                    let isReady = try perform(made.call, .after(.milliseconds(2)))
                    try require(!isReady || made.mayBeReady, "a time-out")
                }
            },
            Operation(wait.calls, wait.calls[0] + " when ready") {
                let made = try wait.make()
                if made.isReleasedByCall { return Attempt {} }
                try made.release()
                // A message may be lost with the error that tells of it.
                return Attempt(again: {}) { try require(try perform(made.call, .after(patience)), "readiness") }
            },
            Operation(wait.calls, wait.calls[0] + " without waiting") {
                let made = try wait.make()
                let giveUp = made.mustBeReleased ? made.release : {}
                return Attempt(undo: giveUp, makeReady: giveUp, again: {}) {
                    for (name, attempt) in made.tries { try require(!attempt(), "nil or false of \(name)") }
                }
            },
        ]
    }

    /// Whether it was ready in time.
    private static func perform(_ call: Wait.Case.Call, _ deadline: Deadline) throws -> Bool {
        do {
            switch call {
            case .blocking(let body): return try body(deadline)
            case .suspending(let body):
                let isReady = Box(false)
                try ObservedThread.shared.finish { isReady.value = try await body(deadline) }
                return isReady.value
            }
        } catch let error as IPCError where error.code == .timedOut || error.code == .notReady {
            return false
        }
    }
}
