import CIPCShims
import Glibc
import SystemPackage

/// What all sockets have in common: sends and receives with a deadline, options, their addresses.
///
/// Descriptors stay in blocking mode, since that is shared with whoever else has the socket; a call that must not block
/// says so by `MSG_DONTWAIT`. No call raises SIGPIPE: `MSG_NOSIGNAL`.
struct SocketHandle: ~Copyable, Sendable {
    let owned: OwnedDescriptor
    let name: String

    init(adopting descriptor: consuming OwnedDescriptor, name: String) {
        self.owned = descriptor
        self.name = name
    }

    /// Takes over a descriptor that was just made.
    init(adopting raw: CInt) { self.init(adopting: OwnedDescriptor(adopting: raw), name: "socket \(raw)") }

    /// Takes over a socket of a known type.
    init(adopting descriptor: consuming OwnedDescriptor, requiring type: SocketType) throws(IPCError) {
        let name = "socket \(descriptor.rawValue)"
        let handle = SocketHandle(adopting: descriptor, name: name)
        let found: CInt
        do throws(IPCError) {
            found = try handle.option(SOL_SOCKET, SO_TYPE)
        } catch {
            throw IPCError(.wrongType, "adopt", name, errno: error.errno, advice: "this descriptor is not a socket")
        }
        guard found == type.rawValue else {
            throw IPCError(
                .wrongType, "adopt", name, advice: "this is not a \(type) socket; adopt it with its own type")
        }
        self = handle
    }

    static func make(_ family: CInt, _ type: SocketType, _ name: String) throws(IPCError) -> SocketHandle {
        let raw = try systemCall { ipc_socket(family, type.rawValue | IPC_SOCK_CLOEXEC) }.orThrow("socket", name)
        return SocketHandle(adopting: OwnedDescriptor(adopting: raw), name: name)
    }

    static func makePair(_ type: SocketType) throws(IPCError) -> (first: CInt, second: CInt) {
        var ends: [CInt] = [-1, -1]
        _ = try systemCall { unsafe ipc_socketpair(type.rawValue | IPC_SOCK_CLOEXEC, &ends) }.orThrow("socketpair", "")
        return (ends[0], ends[1])
    }

    var rawValue: CInt { owned.rawValue }
}

/// The three kinds of socket.
enum SocketType: CustomStringConvertible {
    case stream, datagram, sequencedPacket

    var rawValue: CInt {
        switch self {
        case .stream: IPC_SOCK_STREAM
        case .datagram: IPC_SOCK_DGRAM
        case .sequencedPacket: IPC_SOCK_SEQPACKET
        }
    }

    var description: String {
        switch self {
        case .stream: "stream"
        case .datagram: "datagram"
        case .sequencedPacket: "sequenced packet"
        }
    }
}

extension SocketHandle {
    /// One `send`, waiting for room. On a datagram or packet socket, all or nothing.
    @inline(__always)
    borrowing func send(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Int {
        if deadline == .never, let count = try send(bytes, flags: 0) { return count }
        let sent = try waiting(for: .writable, of: rawValue, until: deadline) { () throws(IPCError) in
            try send(bytes, flags: IPC_MSG_DONTWAIT)
        }
        guard let sent else { throw .timedOut("send", name) }
        return sent
    }

    /// One `send`; nil if it would block.
    @inline(__always)
    borrowing func send(_ bytes: RawSpan, flags: CInt) throws(IPCError) -> Int? {
        let raw = rawValue
        let result = unsafe bytes.withUnsafeBytes { buffer in
            retryingInterrupts { unsafe Glibc.send(raw, buffer.baseAddress, buffer.count, flags | IPC_MSG_NOSIGNAL) }
        }
        switch result {
        case .success(let count): return count
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno): throw sendError(errno, bytes.byteCount)
        }
    }

    borrowing func sendError(_ errno: Errno, _ byteCount: Int) -> IPCError {
        errno == .messageTooLong
            ? IPCError(
                "send", name, errno, advice: "a message of \(byteCount) bytes is too large for this socket; send less"
            )
            : IPCError("send", name, errno)
    }

    /// One `recv`, waiting for something to come.
    @inline(__always)
    borrowing func receive(into buffer: inout MutableRawSpan, flags: CInt = 0, until deadline: Deadline)
        throws(IPCError) -> Int
    {
        if deadline == .never, let count = try tryReceive(into: &buffer, flags: flags) { return count }
        while true {
            if let count = try tryReceive(into: &buffer, flags: flags | IPC_MSG_DONTWAIT) { return count }
            guard try Readiness.readable.wait(for: rawValue, until: deadline) else { throw .timedOut("receive", name) }
        }
    }

    /// One `recv` with these flags; nil if it would block.
    @inline(__always)
    borrowing func tryReceive(into buffer: inout MutableRawSpan, flags: CInt) throws(IPCError) -> Int? {
        let raw = rawValue
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            retryingInterrupts { unsafe Glibc.recv(raw, bytes.baseAddress, bytes.count, flags) }
        }
        switch result {
        case .success(let count): return count
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno): throw IPCError("receive", name, errno)
        }
    }

    /// Connects, until the deadline.
    ///
    /// A Unix socket waits while the server's backlog is full; that wait can be bounded by `SO_SNDTIMEO` only. Other
    /// sockets connect in the background once started (also when a signal interrupts the call), so theirs is a wait for
    /// readiness.
    borrowing func connect(to address: RawSocketAddress, until deadline: Deadline) throws(IPCError) {
        if address.family == AF_UNIX {
            try connectLocally(to: address, until: deadline)
        } else {
            try connectInBackground(to: address, until: deadline)
        }
    }

    private borrowing func connectLocally(to address: RawSocketAddress, until deadline: Deadline) throws(IPCError) {
        let raw = rawValue
        while true {
            if let remaining = deadline.remaining {
                // At least a microsecond: zero would mean for ever.
                let microseconds = max(
                    1, remaining.components.seconds * 1_000_000 + remaining.components.attoseconds / 1_000_000_000_000)
                try setOption(
                    SOL_SOCKET, SO_SNDTIMEO,
                    timeval(tv_sec: Int(microseconds / 1_000_000), tv_usec: Int(microseconds % 1_000_000)))
            }
            let result = systemCall { unsafe address.withPointer { unsafe Glibc.connect(raw, $0, $1) } }
            if deadline != .never { try setOption(SOL_SOCKET, SO_SNDTIMEO, timeval()) }
            switch result {
            case .success: return
            case .failure(.interrupted): continue
            case .failure(.resourceTemporarilyUnavailable):
                throw isFull
            case .failure(let errno): throw connectError(errno)
            }
        }
    }

    private borrowing func connectInBackground(to address: RawSocketAddress, until deadline: Deadline) throws(IPCError)
    {
        guard try !startConnecting(to: address) else { return }
        guard try Readiness.writable.wait(for: rawValue, until: deadline) else { throw .timedOut("connect", name) }
        try finishConnecting()
    }

    /// Begins to connect a new socket, whose flags nobody shares yet.
    ///
    /// - Returns: Whether it is connected. If not, ``finishConnecting()`` is to be called when it is writable.
    borrowing func startConnecting(to address: RawSocketAddress) throws(IPCError) -> Bool {
        let raw = rawValue
        try setNonBlocking(true)
        switch systemCall({ unsafe address.withPointer { unsafe Glibc.connect(raw, $0, $1) } }) {
        case .success:
            try setNonBlocking(false)
            return true
        case .failure(.nowInProgress), .failure(.interrupted): return false
        case .failure(let errno):
            try setNonBlocking(false)
            throw connectError(errno)
        }
    }

    borrowing func finishConnecting() throws(IPCError) {
        let failure = Errno(rawValue: try option(SOL_SOCKET, SO_ERROR))
        guard failure.rawValue == 0 else {
            try setNonBlocking(false)
            throw connectError(failure)
        }
        try setNonBlocking(false)
    }

    borrowing func setNonBlocking(_ isOn: Bool) throws(IPCError) {
        let raw = rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", name)
        _ = try systemCall { ipc_fcntl_int(raw, F_SETFL, isOn ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) }
            .orThrow("fcntl", name)
    }

    var isFull: IPCError {
        IPCError(
            .timedOut, "connect", name,
            advice: "the server did not accept before the deadline: its backlog is full; allow more time")
    }

    borrowing func connectError(_ errno: Errno) -> IPCError {
        switch errno {
        case .protocolWrongTypeForSocket:
            IPCError(
                .wrongType, "connect", name, errno: errno,
                advice: "the server's socket has another type (stream, datagram or packet); use the same type")
        case .connectionRefused:
            IPCError(
                "connect", name, errno, advice: "no process is listening there; start the server, or check the address")
        default: IPCError("connect", name, errno)
        }
    }
}

extension SocketHandle {
    borrowing func option(_ level: CInt, _ option: CInt) throws(IPCError) -> CInt {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        let raw = rawValue
        _ = try systemCall { unsafe getsockopt(raw, level, option, &value, &length) }.orThrow("getsockopt", name)
        return value
    }

    borrowing func setOption<Value: BitwiseCopyable>(_ level: CInt, _ option: CInt, _ value: Value) throws(IPCError) {
        let raw = rawValue
        _ = try systemCall {
            unsafe withUnsafePointer(to: value) {
                unsafe setsockopt(raw, level, option, $0, socklen_t(MemoryLayout<Value>.size))
            }
        }.orThrow("setsockopt", name)
    }

    /// A new socket, made and bound by `bind` to the first of these addresses that this machine has.
    ///
    /// One that the machine has and that is in use is an error: a server would otherwise come to be somewhere else.
    static func bound(
        to addresses: [RawSocketAddress], _ type: SocketType, _ name: String,
        _ bind: (borrowing SocketHandle, RawSocketAddress) throws(IPCError) -> Void
    ) throws(IPCError) -> SocketHandle {
        for address in addresses.dropLast() {
            do throws(IPCError) {
                let handle = try SocketHandle.make(address.family, type, name)
                try bind(handle, address)
                return handle
            } catch {
                let isMissing = error.errno == .addressNotAvailable || error.errno == .addressFamilyNotSupported
                guard isMissing else { throw error }
            }
        }
        let handle = try SocketHandle.make(addresses[addresses.count - 1].family, type, name)
        try bind(handle, addresses[addresses.count - 1])
        return handle
    }

    borrowing func bind(to address: RawSocketAddress) throws(IPCError) {
        let raw = rawValue
        _ = try systemCall { unsafe address.withPointer { unsafe Glibc.bind(raw, $0, $1) } }.orThrow("bind", name)
    }

    borrowing func localAddress() throws(IPCError) -> RawSocketAddress {
        var address = RawSocketAddress()
        let raw = rawValue
        _ = try systemCall { unsafe address.withMutablePointer { unsafe getsockname(raw, $0, $1) } }.orThrow(
            "getsockname", name)
        return address
    }

    borrowing func remoteAddress() throws(IPCError) -> RawSocketAddress {
        var address = RawSocketAddress()
        let raw = rawValue
        _ = try systemCall { unsafe address.withMutablePointer { unsafe getpeername(raw, $0, $1) } }.orThrow(
            "getpeername", name)
        return address
    }
}
