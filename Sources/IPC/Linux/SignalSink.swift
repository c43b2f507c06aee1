import CIPCShims
import Glibc
import SystemPackage

/// What a ``SignalSource`` and the sequences made from it have in common: two ways for a signal to come, and one descriptor.
///
/// A signal that every thread blocks stays pending, and a signalfd takes it. A signal that some thread does not block is
/// delivered to that thread: there, a handler writes it into the pipe of every source that wants it.
@safe
final class SignalSink: @unchecked Sendable {
    // `@unchecked`: nothing changes but what the C functions do, which is atomic.

    /// For errors.
    let names: String
    private let blocked: OwnedDescriptor
    private let forwarded: OwnedDescriptor
    private let forwarding: OwnedDescriptor
    private let either: OwnedDescriptor
    private let sink: OpaquePointer

    /// How many bytes of signals wait in the pipe: some 8,000 of them, where the system allows it.
    private static let capacity: CInt = 1 << 20

    init(_ signals: [Signal]) throws(IPCError) {
        let names = signals.map(\.description).joined(separator: ", ")
        self.names = names
        // The set would silently leave out what is no signal.
        let range = 1...ipc_sigrtmax()
        if let wrong = signals.first(where: { !range.contains($0.rawValue) || $0 == .kill || $0 == .stop }) {
            throw Self.refusal(wrong, names)
        }
        var set = SignalSet(signals).raw
        blocked = OwnedDescriptor(
            adopting: try systemCall { unsafe ipc_signalfd(&set, ipc_sfd_flags()) }.orThrow("signalfd", names))
        var ends: [CInt] = [-1, -1]
        _ = try systemCall { unsafe ipc_pipe2(&ends, O_CLOEXEC | O_NONBLOCK) }.orThrow("pipe2", names)
        forwarded = OwnedDescriptor(adopting: ends[0])
        forwarding = OwnedDescriptor(adopting: ends[1])
        // Only real-time signals queue. A user who may have no larger pipe gets one for some 500 of them.
        if signals.contains(where: { $0.rawValue >= ipc_sigrtmin() }) {
            _ = ipc_fcntl_int(forwarding.rawValue, IPC_F_SETPIPE_SZ, Self.capacity)
        }
        either = OwnedDescriptor(
            adopting: try systemCall { ipc_epoll_create() }.orThrow("epoll_create1", names))
        for raw in [blocked.rawValue, forwarded.rawValue] {
            let error = ipc_epoll_arm(either.rawValue, raw, Int16(POLLIN), 0)
            if error != 0 { throw IPCError("epoll_ctl", names, Errno(rawValue: error)) }
        }
        // Last: all above is given back by going out of scope, and this takes nothing if it fails.
        var refused: CInt = 0
        let numbers = signals.map(\.rawValue)
        guard
            let sink = unsafe ipc_signal_sink_add(forwarding.rawValue, numbers, CInt(numbers.count), &refused)
        else {
            let errno = Errno(rawValue: Glibc.errno)
            if errno == .invalidArgument { throw Self.refusal(Signal(rawValue: refused), names) }
            throw IPCError("sigaction", names, errno)
        }
        unsafe self.sink = sink
    }

    deinit { unsafe ipc_signal_sink_remove(sink) }

    /// Readable when there is a signal to take.
    var descriptor: FileDescriptor { either.descriptor }

    /// Takes the next signal without waiting; nil if there is none.
    func take() throws(IPCError) -> SignalSource.Received? {
        // Not zeroed first: the C function writes all of it.
        try unsafe withUnsafeTemporaryAllocation(of: signalfd_siginfo.self, capacity: 1) {
            (memory) throws(IPCError) in
            let record = memory.baseAddress!
            switch unsafe ipc_signal_take(sink, blocked.rawValue, forwarded.rawValue, record) {
            case 0: return nil
            case 1: break
            default: throw failure(Errno(rawValue: errno))
            }
            let value = unsafe Int(truncatingIfNeeded: record.pointee.ssi_ptr)
            guard unsafe record.pointee.ssi_signo > 0 else {
                throw IPCError(
                    .limitReached, "wait for", names,
                    advice:
                        "\(value) real-time signals were lost: they arrived faster than they were received; receive them sooner"
                )
            }
            return unsafe SignalSource.Received(
                signal: Signal(rawValue: CInt(record.pointee.ssi_signo)), code: record.pointee.ssi_code,
                sender: pid_t(truncatingIfNeeded: record.pointee.ssi_pid), user: record.pointee.ssi_uid, value: value)
        }
    }

    private func failure(_ errno: Errno) -> IPCError {
        guard errno.rawValue == EOWNERDEAD else { return IPCError("read", names, errno) }
        return IPCError(
            .invalidArgument, "wait for", names, errno: errno,
            advice:
                "this source belongs to the process that created it, not to its forked child; create one in the child")
    }

    private static func refusal(_ signal: Signal, _ names: String) -> IPCError {
        let reason =
            switch signal {
            case .kill, .stop: "\(signal) cannot be caught; use SIGTERM instead"
            default: "\(signal.rawValue) is not a signal that a program can receive; use 1 to \(ipc_sigrtmax())"
            }
        return IPCError(.invalidArgument, "receive", names, advice: reason)
    }
}
