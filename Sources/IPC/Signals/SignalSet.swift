import CIPCShims
import Glibc

/// A set of signals, and the mask of the calling thread.
public struct SignalSet: Sendable, ExpressibleByArrayLiteral {
    package var raw = sigset_t()

    /// The set of these signals.
    public init(_ signals: some Sequence<Signal>) {
        unsafe sigemptyset(&raw)
        for signal in signals { unsafe sigaddset(&raw, signal.rawValue) }
    }

    public init(arrayLiteral elements: Signal...) { self.init(elements) }

    /// Every signal that can be blocked.
    public static var all: SignalSet {
        var set = SignalSet([])
        unsafe sigfillset(&set.raw)
        return set
    }

    public func contains(_ signal: Signal) -> Bool {
        var copy = raw
        return unsafe sigismember(&copy, signal.rawValue) == 1
    }

    /// Blocks these signals in the calling thread, and in all threads that it starts from now on.
    ///
    /// A blocked signal stays pending until a ``SignalSource`` takes it, or a thread that does not block it is there. First
    /// in `main`, it keeps all threads from being interrupted by the signal. Children that are started by other means than
    /// ``ChildProcess`` and ``Pipeline`` inherit the mask.
    /// The C function is `pthread_sigmask`.
    public func blockInCallingThread() {
        var copy = raw
        unsafe pthread_sigmask(SIG_BLOCK, &copy, nil)
    }

    /// Lets these signals through again in the calling thread.
    public func unblockInCallingThread() {
        var copy = raw
        unsafe pthread_sigmask(SIG_UNBLOCK, &copy, nil)
    }
}
