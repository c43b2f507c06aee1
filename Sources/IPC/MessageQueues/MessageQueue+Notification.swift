import CIPCShims
import Glibc

extension MessageQueue {
    /// Waits until there is a message, without taking it. Several processes may wait.
    ///
    /// - Returns: False if the deadline passed first.
    public borrowing func waitForMessage(until deadline: Deadline = .never) throws(IPCError) -> Bool {
        try Readiness.readable.wait(for: owned.rawValue, until: deadline)
    }

    /// Asks for a signal to this process when a message comes into the empty queue, once. The C function is `mq_notify`.
    ///
    /// Receive with a ``SignalSource``. After the signal, ask again *before* the queue is emptied, or a message that comes
    /// in between is not told.
    /// - Parameters:
    ///   - signal: Which; blocked, or its default action happens.
    ///   - value: Comes with the signal.
    /// - Throws: ``IPCError/Code/addressInUse`` if another process asked before: only one may at a time. Use
    ///   ``waitForMessage(until:)`` then.
    public borrowing func requestNotification(_ signal: Signal, value: Int = 0) throws(IPCError) {
        var event = unsafe sigevent()
        unsafe ipc_sigevent_signal(&event, signal.rawValue, value)
        let raw = owned.rawValue
        guard case .failure(let errno) = systemCall({ unsafe ipc_mq_notify(raw, &event) }) else { return }
        guard errno != .resourceBusy else {
            throw IPCError(
                .addressInUse, "mq_notify", name, errno: errno,
                advice: "another process has requested its notification, and only one can; use waitForMessage(until:)")
        }
        throw IPCError("mq_notify", name, errno)
    }

    /// Takes the request of this process back.
    public borrowing func cancelNotification() throws(IPCError) {
        let raw = owned.rawValue
        _ = try systemCall { ipc_mq_notify(raw, nil) }.orThrow("mq_notify", name)
    }
}
