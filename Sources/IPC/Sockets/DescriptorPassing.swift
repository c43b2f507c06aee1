import CIPCShims
import Glibc
import SystemPackage

/// File descriptors that came over a Unix socket. Those that are not taken are closed.
public struct ReceivedDescriptors: ~Copyable, Sendable {
    private var descriptors: [CInt] = []

    /// None.
    public init() {}

    fileprivate init(_ descriptors: [CInt]) { self.descriptors = descriptors }

    deinit { for descriptor in descriptors { Glibc.close(descriptor) } }

    /// How many have not been taken yet.
    public var count: Int { descriptors.count }

    /// Takes the first one that is left; nil if none is.
    public mutating func takeFirst() -> OwnedDescriptor? {
        descriptors.isEmpty ? nil : OwnedDescriptor(adopting: descriptors.removeFirst())
    }
}

extension SocketHandle {
    /// The most descriptors that the kernel passes with one message (`SCM_MAX_FD`).
    static let maximumDescriptors = 253

    /// Sends bytes and descriptors with `sendmsg`; nil if it would block.
    ///
    /// At least one byte of data has to go with descriptors, or some kernels drop them.
    borrowing func send(_ bytes: RawSpan, descriptors: [FileDescriptor], flags: CInt) throws(IPCError) -> Int? {
        guard bytes.byteCount > 0 else {
            throw IPCError(
                .invalidArgument, "sendmsg", name,
                advice: "descriptors can be sent only with data; send at least one byte")
        }
        guard descriptors.count <= Self.maximumDescriptors else {
            throw IPCError(
                .invalidArgument, "sendmsg", name,
                advice:
                    "\(descriptors.count) descriptors exceed the limit of \(Self.maximumDescriptors) per message; send several messages"
            )
        }
        let raw = rawValue
        let numbers = descriptors.map(\.rawValue)
        let payload = numbers.count * MemoryLayout<CInt>.size
        let space = ipc_cmsg_space(payload)
        let result: Result<Int, Errno> = unsafe bytes.withUnsafeBytes { buffer in
            unsafe withUnsafeTemporaryAllocation(byteCount: space, alignment: MemoryLayout<cmsghdr>.alignment) {
                control in
                unsafe control.initializeMemory(as: UInt8.self, repeating: 0)
                var vector = unsafe iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
                return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = vector
                    unsafe message.msg_iovlen = 1
                    if !numbers.isEmpty {
                        unsafe message.msg_control = control.baseAddress
                        unsafe message.msg_controllen = space
                        let header = unsafe ipc_cmsg_first(&message)!
                        unsafe header.pointee.cmsg_level = SOL_SOCKET
                        unsafe header.pointee.cmsg_type = CInt(SCM_RIGHTS)
                        unsafe header.pointee.cmsg_len = ipc_cmsg_len(payload)
                        unsafe numbers.withUnsafeBytes {
                            unsafe UnsafeMutableRawPointer(ipc_cmsg_data(header)).copyMemory(
                                from: $0.baseAddress!, byteCount: payload)
                        }
                    }
                    return retryingInterrupts { unsafe sendmsg(raw, &message, flags | IPC_MSG_NOSIGNAL) }
                }
            }
        }
        switch result {
        case .success(let count): return count
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(.badFileDescriptor):
            throw IPCError("sendmsg", name, .badFileDescriptor, advice: "one of the descriptors to send is not open")
        case .failure(let errno): throw sendError(errno, bytes.byteCount)
        }
    }

    /// Receives bytes and up to `limit` descriptors with `recvmsg`; nil if it would block.
    ///
    /// All that came are owned at once, close-on-exec, before anything can fail.
    /// - Throws: ``IPCError/Code/descriptorsTruncated`` if more came than `limit`, or this process had no free numbers:
    ///   those that did come are closed. The bytes are in the buffer; ``IPCError/transferred`` says how many.
    borrowing func receive(
        into buffer: inout MutableRawSpan, limit: Int, flags: CInt
    ) throws(IPCError) -> (byteCount: Int, descriptors: [CInt], isTruncated: Bool)? {
        let raw = rawValue
        let space = ipc_cmsg_space(max(0, min(limit, Self.maximumDescriptors)) * MemoryLayout<CInt>.size)
        var messageFlags: CInt = 0
        var numbers: [CInt] = []
        let result: Result<Int, Errno> = unsafe buffer.withUnsafeMutableBytes { buffer in
            unsafe withUnsafeTemporaryAllocation(byteCount: space, alignment: MemoryLayout<cmsghdr>.alignment) {
                control in
                var vector = unsafe iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
                return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = vector
                    unsafe message.msg_iovlen = 1
                    unsafe message.msg_control = control.baseAddress
                    unsafe message.msg_controllen = space
                    let result = retryingInterrupts { unsafe recvmsg(raw, &message, flags | IPC_MSG_CMSG_CLOEXEC) }
                    if case .success = result {
                        messageFlags = unsafe message.msg_flags
                        numbers = unsafe Self.descriptors(in: &message)
                    }
                    return result
                }
            }
        }
        let count: Int
        switch result {
        case .success(let received): count = received
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno): throw IPCError("recvmsg", name, errno)
        }
        // The control buffer is rounded up for alignment, so one more than asked for may fit into it.
        guard messageFlags & IPC_MSG_CTRUNC == 0, numbers.count <= limit else {
            for number in numbers { Glibc.close(number) }
            throw IPCError(
                .descriptorsTruncated, "recvmsg", name,
                advice:
                    "descriptors were lost: more than the \(limit) allowed arrived, or the limit on open ones is reached (ulimit -n)",
                transferred: count)
        }
        return (count, try aboveStandard(numbers, after: count), messageFlags & IPC_MSG_TRUNC != 0)
    }

    /// The kernel gives the lowest free numbers to what it hands over, as to all else.
    private borrowing func aboveStandard(_ numbers: [CInt], after count: Int) throws(IPCError) -> [CInt] {
        guard numbers.contains(where: { $0 <= 2 }) else { return numbers }
        var moved: [CInt] = []
        for (index, number) in numbers.enumerated() {
            switch Result<CInt, Errno>.success(number).aboveStandard {
            case .success(let above): moved.append(above)
            case .failure(let errno):
                for lost in moved + numbers[(index + 1)...] { Glibc.close(lost) }
                throw IPCError(
                    .descriptorsTruncated, "recvmsg", name, errno: errno,
                    advice:
                        "the received descriptors were closed: no number above 2 was free for them; raise ulimit -n",
                    transferred: count)
            }
        }
        return moved
    }

    private static func descriptors(in message: inout msghdr) -> [CInt] {
        var numbers: [CInt] = []
        var header = unsafe ipc_cmsg_first(&message)
        while let current = unsafe header {
            if unsafe current.pointee.cmsg_level == SOL_SOCKET, unsafe current.pointee.cmsg_type == CInt(SCM_RIGHTS) {
                let count = unsafe (Int(current.pointee.cmsg_len) - ipc_cmsg_len(0)) / MemoryLayout<CInt>.size
                let data = unsafe UnsafeRawPointer(ipc_cmsg_data(current)!)
                for index in 0..<max(0, count) {
                    unsafe numbers.append(
                        data.loadUnaligned(fromByteOffset: index * MemoryLayout<CInt>.size, as: CInt.self))
                }
            }
            unsafe header = ipc_cmsg_next(&message, current)
        }
        return numbers
    }

    /// Sends with a deadline; see ``send(_:descriptors:flags:)``.
    borrowing func send(_ bytes: RawSpan, descriptors: [FileDescriptor], until deadline: Deadline) throws(IPCError)
        -> Int
    {
        let sent = try waiting(for: .writable, of: rawValue, until: deadline) { () throws(IPCError) in
            try send(bytes, descriptors: descriptors, flags: IPC_MSG_DONTWAIT)
        }
        guard let sent else { throw .timedOut("send", name) }
        return sent
    }

    /// Receives with a deadline; see ``receive(into:limit:flags:)``.
    borrowing func receive(
        into buffer: inout MutableRawSpan, maximumDescriptors: Int, until deadline: Deadline
    ) throws(IPCError) -> (byteCount: Int, descriptors: ReceivedDescriptorsBox, isTruncated: Bool) {
        while true {
            if let received = try receive(into: &buffer, limit: maximumDescriptors, flags: IPC_MSG_DONTWAIT) {
                return (received.byteCount, ReceivedDescriptorsBox(received.descriptors), received.isTruncated)
            }
            guard try Readiness.readable.wait(for: rawValue, until: deadline) else { throw .timedOut("receive", name) }
        }
    }
}

/// Carries descriptors through a tuple, which cannot hold a value that is not copyable.
struct ReceivedDescriptorsBox {
    private let numbers: [CInt]
    init(_ numbers: [CInt]) { self.numbers = numbers }
    /// To be called once.
    func open() -> ReceivedDescriptors { ReceivedDescriptors(numbers) }
}
