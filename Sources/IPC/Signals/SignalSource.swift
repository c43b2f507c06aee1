import CIPCShims
import Glibc
public import SystemPackage

/// Signals as values to be received, whatever threads the program has: no handler to write, so nothing to know about
/// async-signal-safety.
///
/// ```swift
/// let signals = try SignalSource([.terminate, .interrupt])
/// switch try signals.next().signal {
/// case .terminate, .interrupt: shutDown()
/// default: break
/// }
/// ```
///
/// While a source lives, its signals do not have the action that they had: a handler hands them to the source. When the last
/// source for a signal has gone, the earlier action is back, so a later SIGTERM ends the process as it would have. Signal masks
/// are left alone: a thread that does not block the signal is interrupted for a moment (`SA_RESTART`), and one that all
/// threads block is taken by a signalfd. The latter is faster, and keeps the order of real-time signals among several
/// threads; for that, use ``SignalSet/blockInCallingThread()`` first in `main`.
///
/// Each of several sources gets each signal. Calls and sequences of one source share what it gets. May be used by several
/// threads. Children have the default action, by `exec`; a child of `fork` has the earlier action and no part in the source.
public struct SignalSource: ~Copyable, Sendable {
    /// A signal that came.
    public struct Received: Hashable, Sendable {
        public let signal: Signal
        /// Why it was sent, as `si_code`: 0 by `kill`, -1 by `sigqueue`, greater than 0 by the kernel.
        public let code: CInt
        /// The process that sent it, by its number at that time; 0 if the kernel did.
        public let sender: pid_t
        /// The user that sent it.
        public let user: uid_t
        /// What `sigqueue` or a notification sent along; 0 otherwise.
        public let value: Int
    }

    let sink: SignalSink

    init(_ sink: SignalSink) { self.sink = sink }

    /// Starts to receive signals. The C functions are `sigaction` and `signalfd`.
    ///
    /// A source has four descriptors.
    /// - Throws: ``IPCError/Code/invalidArgument`` for SIGKILL and SIGSTOP, which cannot be caught, and for what is no signal
    ///   of a program's; ``IPCError/Code/limitReached`` without enough free descriptors. Nothing has changed then.
    public init(_ signals: [Signal]) throws(IPCError) { sink = try SignalSink(signals) }

    /// The descriptor, lent, for `poll` and event loops: readable when there is a signal to take. Not to be read.
    public var descriptor: FileDescriptor { sink.descriptor }

    /// Waits for the next signal, blocking the thread.
    ///
    /// Several pending standard signals of one kind are one: after ``Signal/child``, look at *all* children. Real-time
    /// signals queue, some 8,000 of them.
    /// - Parameter deadline: When to give up.
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/limitReached`` once after real-time signals were lost;
    ///   ``IPCError/Code/invalidArgument`` in a child of `fork`.
    public borrowing func next(until deadline: Deadline = .never) throws(IPCError) -> Received {
        let received = try waiting(for: .readable, of: descriptor.rawValue, until: deadline) { () throws(IPCError) in
            try sink.take()
        }
        guard let received else { throw .timedOut("wait for", sink.names) }
        return received
    }

    /// Takes a signal that has come; nil if there is none. Never waits, also when others take from the same source.
    ///
    /// - Throws: As `next(until:)`, but for the deadline.
    public borrowing func tryNext() throws(IPCError) -> Received? { try sink.take() }

    /// Gives the source up. The signals have their earlier action again if no other source and no sequence has them.
    public consuming func close() throws(IPCError) {}
}
