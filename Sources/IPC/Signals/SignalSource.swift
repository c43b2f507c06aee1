import CIPCShims
import Glibc
public import SystemPackage

/// Signals as values to be received, by signalfd: no handler, so nothing to know about async-signal-safety.
///
/// ```swift
/// let signals = try SignalSource([.terminate, .interrupt])     // first in main, before any thread is started
/// switch try signals.next().signal {
/// case .terminate, .interrupt: shutDown()
/// default: break
/// }
/// ```
///
/// The signals have to be blocked in *every* thread, or one that does not block them takes them away, usually by dying
/// of them. Creating a source blocks them in the calling thread, whose later threads inherit that; if other threads run
/// already that do not, it throws and says so. They stay blocked when the source has gone. A child started by
/// ``ChildProcess`` or by swift-subprocess gets an empty mask; other ways of starting one hand the mask down.
public struct SignalSource: ~Copyable, Sendable {
    /// A signal that came.
    public struct Received: Hashable, Sendable {
        public let signal: Signal
        /// The process that sent it, by its number at that time; 0 if the kernel did.
        public let sender: pid_t
        /// The user that sent it.
        public let user: uid_t
        /// What `sigqueue` or a notification sent along; 0 otherwise.
        public let value: Int
    }

    let owned: OwnedDescriptor

    /// Another descriptor of a source.
    init(adopting descriptor: consuming OwnedDescriptor) { owned = descriptor }

    /// Starts to receive signals.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` for SIGKILL and SIGSTOP, which cannot be caught;
    ///   ``IPCError/Code/notReady`` if another thread of this process does not block one of them.
    public init(_ signals: [Signal]) throws(IPCError) {
        let name = signals.map(\.description).joined(separator: ", ")
        guard !signals.contains(.kill), !signals.contains(.stop) else {
            throw IPCError(
                .invalidArgument, "signalfd", name,
                advice: "SIGKILL and SIGSTOP cannot be caught; ask for SIGTERM instead")
        }
        let set = SignalSet(signals)
        set.blockInCallingThread()
        if let thread = ThreadMasks.threadNotBlocking(signals) {
            set.unblockInCallingThread()
            throw IPCError(
                .notReady, "signalfd", name,
                advice: "thread \(thread) runs already and does not block them; create the source first in main")
        }
        var raw = set.raw
        self.owned = OwnedDescriptor(
            adopting: try systemCall { unsafe ipc_signalfd(&raw, ipc_sfd_flags()) }.orThrow("signalfd", name))
    }

    /// The descriptor, lent: readable when a signal is pending.
    public var descriptor: FileDescriptor { owned.descriptor }

    /// Waits for the next signal.
    ///
    /// Several pending standard signals of one kind are one: after ``Signal/child``, look at *all* children.
    /// - Throws: ``IPCError/Code/timedOut``.
    public borrowing func next(until deadline: Deadline = .never) throws(IPCError) -> Received {
        // A signalfd is read in blocking mode, after a look if there is a deadline: nobody else has its description.
        guard let received = try deadline == .never ? read() : take(until: deadline) else {
            throw .timedOut("wait for", "signal")
        }
        return received
    }

    /// Takes a pending signal; nil if there is none.
    public borrowing func tryNext() throws(IPCError) -> Received? { try take(until: .immediate) }

    private borrowing func take(until deadline: Deadline) throws(IPCError) -> Received? {
        guard try Readiness.readable.wait(for: owned.rawValue, until: deadline) else { return nil }
        return try read()
    }

    private borrowing func read() throws(IPCError) -> Received? {
        let raw = owned.rawValue
        // Not zeroed first: the kernel writes all of it.
        return try unsafe withUnsafeTemporaryAllocation(of: signalfd_siginfo.self, capacity: 1) {
            (memory) throws(IPCError) in
            let size = MemoryLayout<signalfd_siginfo>.size
            let count = try retryingInterrupts { unsafe Glibc.read(raw, memory.baseAddress, size) }
                .orThrow("read", "signalfd")
            guard count == size else {
                throw IPCError(.corrupted, "read", "signalfd", advice: "the kernel sent a part of a signal")
            }
            let information = memory.baseAddress!
            return unsafe Received(
                signal: Signal(rawValue: CInt(information.pointee.ssi_signo)),
                sender: pid_t(information.pointee.ssi_pid), user: information.pointee.ssi_uid,
                value: Int(bitPattern: UInt(information.pointee.ssi_ptr)))
        }
    }

    /// Closes the descriptor. The signals stay blocked in the calling thread.
    public consuming func close() throws(IPCError) { try owned.close() }
}
