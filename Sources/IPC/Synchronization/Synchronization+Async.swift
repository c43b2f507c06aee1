import CIPCShims
import Glibc
import Synchronization
import SystemPackage

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension Futex {
    /// Suspends while the word has the value `expected`.
    ///
    /// - Returns: As the blocking call.
    /// - Throws: ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) func wait(
        whileEqual expected: UInt32, until deadline: Deadline = .never
    ) async throws(IPCError) -> Bool {
        switch unsafe try await FutexWaits.shared.wait(for: word, whileEqual: expected, until: deadline) {
        case .ready, .failed: return true
        case .deadlinePassed: return false
        case .cancelled: throw .cancelled("futex", name)
        }
    }
}

extension SharedSemaphore {
    /// Takes one, suspended while there is none.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and none was taken.
    public nonisolated(nonsending) func wait(until deadline: Deadline = .never) async throws(IPCError) {
        try await unsafe SemaphoreCalls.wait(raw, until: deadline, name)
    }
}

extension NamedSemaphore {
    /// Opens a semaphore, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, until deadline: Deadline
    ) async throws(IPCError) -> NamedSemaphore {
        try await waitingForCreation(in: SystemPaths.sharedMemory, until: deadline, "sem_open", name) {
            () throws(IPCError) in
            try existing(name)
        }
    }

    /// Takes one, suspended while there is none.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and none was taken.
    public nonisolated(nonsending) borrowing func wait(until deadline: Deadline = .never) async throws(IPCError) {
        try await unsafe SemaphoreCalls.wait(raw, until: deadline, name)
    }
}

extension SharedMutex {
    /// Runs `body` with the lock held, suspended while another has it.
    ///
    /// The lock belongs to the thread on which `body` runs; so there is no asynchronous `lock`, and `body` cannot suspend.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and `body` did not run.
    public nonisolated(nonsending) func withLock<Value>(
        until deadline: Deadline = .never, repair: (() throws(IPCError) -> Void)? = nil,
        _ body: () throws(IPCError) -> Value
    ) async throws(IPCError) -> Value {
        var hasWaited = false
        while true {
            if let acquisition = try tryLock(after: &hasWaited) { return try finish(acquisition, repair, body) { $0 } }
            try await waitForHolder(until: deadline, &hasWaited)
        }
    }

    /// The same, with closures that throw errors of their own: they pass unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) func withLock<Value>(
        until deadline: Deadline = .never, repair: (() throws -> Void)? = nil, _ body: () throws -> Value
    ) async throws -> Value {
        var hasWaited = false
        while true {
            // From here to the unlock nothing suspends, so it stays on one thread.
            if let acquisition = try tryLock(after: &hasWaited) { return try finish(acquisition, repair, body) { $0 } }
            try await waitForHolder(until: deadline, &hasWaited)
        }
    }

    private func tryLock(after hasWaited: inout Bool) throws(IPCError) -> LockAcquisition? {
        guard let acquisition = try tryLock() else { return nil }
        // Those who sleep may have been many, and one was woken: the next unlock has to wake another.
        if hasWaited { raw.markWaiters() }
        return acquisition
    }

    private nonisolated(nonsending) func waitForHolder(
        until deadline: Deadline, _ hasWaited: inout Bool
    ) async throws(IPCError) {
        guard let seen = raw.announceWaiter() else { return }
        hasWaited = true
        switch unsafe try await FutexWaits.shared.wait(for: raw.word, whileEqual: seen, until: deadline) {
        case .ready, .failed: return
        case .deadlinePassed: throw .timedOut("lock", name)
        case .cancelled: throw .cancelled("lock", name)
        }
    }
}
