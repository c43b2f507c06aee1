import CIPCShims
import Glibc
public import SystemPackage

/// A POSIX message queue: whole messages with priorities, kept by the kernel under a name.
///
/// ```swift
/// let queue = try MessageQueue.create("/jobs", maximumMessages: 10, messageSize: 1024)
/// try queue.send("build".utf8.span.bytes, priority: 5, until: .after(.seconds(1)))
/// let message = try queue.receive()
/// ```
///
/// The highest priority is received first, the oldest first within one. The queue and what is in it live until
/// ``unlink(_:)`` and the last close. May be used by several threads and processes; each message goes to one receiver.
public struct MessageQueue: ~Copyable, Sendable {
    /// What a queue was made for, and how full it is.
    public struct Attributes: Hashable, Sendable {
        /// How many messages it holds before a sender waits.
        public let maximumMessages: Int
        /// The longest message in bytes.
        public let messageSize: Int
        /// How many messages are in it now.
        public let currentMessages: Int
    }

    /// What a receive brought.
    public struct Received: Hashable, Sendable {
        public let byteCount: Int
        public let priority: UInt32
    }

    /// A message taken from a queue.
    public struct Message: Hashable, Sendable {
        public let bytes: [UInt8]
        public let priority: UInt32
    }

    /// The priorities that a message may have; the highest is received first.
    public static let priorities: ClosedRange<UInt32> = 0...UInt32(sysconf(CInt(_SC_MQ_PRIO_MAX)) - 1)

    let owned: OwnedDescriptor
    /// The name, with its slash.
    public let name: String
    /// The longest message in bytes, fixed when the queue was made.
    public let messageSize: Int

    /// What a queue has unless its creator asks for something else: the system's own limits for users.
    private static let defaults = (maximumMessages: 10, messageSize: 8192)

    /// Creates a queue, which must not exist.
    ///
    /// - Parameters:
    ///   - name: `/jobs`: one slash, then up to 255 bytes.
    ///   - maximumMessages: How many it holds; up to `fs.mqueue.msg_max` (10) for users.
    ///   - messageSize: The longest message in bytes; up to `fs.mqueue.msgsize_max` (8192) for users.
    ///   - permissions: Who may open it, whatever the process's umask is.
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/limitReached`` with the limit and its setting;
    ///   ``IPCError/Code/invalidName``.
    public static func create(
        _ name: String, maximumMessages: Int = 10, messageSize: Int = 8192,
        permissions: FilePermissions = .ownerReadWrite
    ) throws(IPCError) -> MessageQueue {
        let name = try ResourceName(name).description
        var attributes = try attributes(name, maximumMessages, messageSize)
        let flags = O_CREAT | O_EXCL
        switch unsafe open(name, O_RDWR | flags, permissions, &attributes) {
        case .success(let raw): return try finishing(raw, name, permissions)
        case .failure(let errno):
            throw MessageQueueLimits.explain(errno, name, maximumMessages: maximumMessages, messageSize: messageSize)
        }
    }

    /// Opens a queue, which must exist.
    ///
    /// - Parameters:
    ///   - name: Such as `/jobs`.
    ///   - access: What it is opened for: `.readOnly` to receive, `.writeOnly` to send.
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, access: FileDescriptor.AccessMode = .readWrite
    ) throws(IPCError) -> MessageQueue {
        let name = try ResourceName(name).description
        guard let queue = try existing(name, access) else { throw IPCError("mq_open", name, .noSuchFileOrDirectory) }
        return queue
    }

    /// Opens a queue, waiting until it exists.
    ///
    /// - Throws: ``IPCError/Code/timedOut`` if nobody created it; ``IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, access: FileDescriptor.AccessMode = .readWrite, until deadline: Deadline
    ) throws(IPCError) -> MessageQueue {
        let name = try ResourceName(name).description
        // The file system of queues is mounted on few systems, so there is no folder to watch.
        return try waitingForCreation(in: nil, until: deadline, "mq_open", name) {
            () throws(IPCError) in try existing(name, access)
        }
    }

    /// Opens a queue to send and to receive, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - name: Such as `/jobs`.
    ///   - maximumMessages: How many it holds; nil for 10 if it is created, and for whatever it has if it exists.
    ///   - messageSize: The longest message in bytes; nil for 8192, or for whatever it has.
    ///   - permissions: Who may open it; nil for 0600, or for whatever it has.
    /// - Throws: ``IPCError/Code/incompatibleOptions`` if it exists with something else than was asked for;
    ///   ``IPCError/Code/limitReached``; ``IPCError/Code/permissionDenied``.
    public static func openOrCreate(
        _ name: String, maximumMessages: Int? = nil, messageSize: Int? = nil, permissions: FilePermissions? = nil
    ) throws(IPCError) -> MessageQueue {
        let name = try ResourceName(name).description
        let count = maximumMessages ?? defaults.maximumMessages
        let size = messageSize ?? defaults.messageSize
        var attributes = try attributes(name, count, size)
        let opened = openingOrCreating { flags in
            unsafe open(name, O_RDWR | flags, permissions ?? .ownerReadWrite, &attributes)
        }
        switch opened {
        case .success((let raw, true)): return try finishing(raw, name, permissions ?? .ownerReadWrite)
        case .success((let raw, false)):
            let queue = try MessageQueue(adopting: OwnedDescriptor(adopting: raw), name: name)
            try queue.check(maximumMessages, messageSize, permissions)
            return queue
        case .failure(let errno):
            throw MessageQueueLimits.explain(errno, name, maximumMessages: count, messageSize: size)
        }
    }

    private static func attributes(_ name: String, _ count: Int, _ size: Int) throws(IPCError) -> mq_attr {
        guard count > 0, size > 0 else {
            throw IPCError(
                .invalidArgument, "mq_open", name, advice: "a queue holds at least one message of at least one byte")
        }
        var attributes = mq_attr()
        attributes.mq_maxmsg = count
        attributes.mq_msgsize = size
        return attributes
    }

    private static func open(
        _ name: String, _ flags: CInt, _ permissions: FilePermissions, _ attributes: UnsafeMutablePointer<mq_attr>?
    ) -> Result<CInt, Errno> {
        retryingInterrupts { unsafe ipc_mq_open(name, flags | O_CLOEXEC, permissions.rawValue, attributes) }
    }

    /// Gives a new queue its permissions, or removes it.
    private static func finishing(
        _ raw: CInt, _ name: String, _ permissions: FilePermissions
    ) throws(IPCError) -> MessageQueue {
        do throws(IPCError) {
            let queue = try MessageQueue(adopting: OwnedDescriptor(adopting: raw), name: name)
            try setPermissions(permissions, of: raw, name)
            return queue
        } catch {
            _ = unsafe ipc_mq_unlink(name)
            throw error
        }
    }

    /// Nil if there is none.
    static func existing(
        _ name: String, _ access: FileDescriptor.AccessMode
    ) throws(IPCError) -> MessageQueue? {
        switch unsafe open(name, access.rawValue, [], nil) {
        case .success(let raw): return try MessageQueue(adopting: OwnedDescriptor(adopting: raw), name: name)
        case .failure(.noSuchFileOrDirectory): return nil
        case .failure(let errno): throw IPCError("mq_open", name, errno)
        }
    }

    /// Whether one that exists is what the caller asked for.
    private borrowing func check(
        _ maximumMessages: Int?, _ messageSize: Int?, _ permissions: FilePermissions?
    ) throws(IPCError) {
        let present = try attributes
        if let maximumMessages, maximumMessages != present.maximumMessages {
            throw .incompatible(
                "mq_open", name, "a capacity of", existing: "\(present.maximumMessages) messages",
                asked: "\(maximumMessages)")
        }
        if let messageSize, messageSize != present.messageSize {
            throw .incompatible(
                "mq_open", name, "messages of up to", existing: "\(present.messageSize) bytes",
                asked: "\(messageSize)")
        }
        try checkPermissions(permissions, of: try FileStatus(of: owned.rawValue, name), "mq_open", name)
    }

    /// Takes over a queue's descriptor, such as an inherited one.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if it is not a message queue.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        let name = "queue \(descriptor.rawValue)"
        try self.init(adopting: descriptor, name: name)
    }

    private init(adopting descriptor: consuming OwnedDescriptor, name: String) throws(IPCError) {
        var attributes = mq_attr()
        let raw = descriptor.rawValue
        if case .failure(let errno) = systemCall({ unsafe ipc_mq_getattr(raw, &attributes) }) {
            throw IPCError(
                errno == .badFileDescriptor ? .wrongType : .system, "mq_getattr", name, errno: errno,
                advice: "this descriptor is not a message queue; pass the descriptor of one")
        }
        self.owned = descriptor
        self.name = name
        self.messageSize = attributes.mq_msgsize
    }

    /// Removes a name. Who has the queue open goes on. The C function is `mq_unlink`.
    public static func unlink(_ name: String) throws(IPCError) {
        let name = try ResourceName(name).description
        _ = try retryingInterrupts { unsafe ipc_mq_unlink(name) }.orThrow("mq_unlink", name)
    }

    /// The descriptor, lent. On Linux it can be polled: readable when a message is there, writable when there is room.
    public var descriptor: FileDescriptor { owned.descriptor }

    /// Its limits, and how many messages are in it now. The C function is `mq_getattr`.
    public var attributes: Attributes {
        get throws(IPCError) {
            var raw = mq_attr()
            let descriptor = owned.rawValue
            _ = try systemCall { unsafe ipc_mq_getattr(descriptor, &raw) }.orThrow("mq_getattr", name)
            return Attributes(
                maximumMessages: raw.mq_maxmsg, messageSize: raw.mq_msgsize, currentMessages: raw.mq_curmsgs)
        }
    }

    /// Sends a message, waiting while the queue is full. The C function is `mq_send`.
    ///
    /// - Parameters:
    ///   - bytes: Up to ``messageSize``. May be empty.
    ///   - priority: One of ``priorities``.
    ///   - deadline: When to give up.
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/messageTooLarge``; ``IPCError/Code/permissionDenied`` if it
    ///   was opened for receiving. Then nothing was sent.
    public borrowing func send(_ bytes: RawSpan, priority: UInt32 = 0, until deadline: Deadline = .never)
        throws(IPCError)
    {
        if deadline == .never {
            let raw = owned.rawValue
            let result = unsafe bytes.withUnsafeBytes { buffer in
                retryingInterrupts { unsafe ipc_mq_send(raw, buffer.baseAddress, buffer.count, priority) }
            }
            switch result {
            case .success: return
            case .failure(.resourceTemporarilyUnavailable): break  // whoever opened it made it non-blocking
            case .failure(let errno): throw sendError(errno, bytes.byteCount, priority)
            }
        }
        let sent: Void? = try waiting(for: .writable, of: owned.rawValue, until: deadline) { () throws(IPCError) in
            try trySend(bytes, priority: priority) ? () : nil
        }
        guard sent != nil else {
            throw IPCError(
                .timedOut, "mq_send", name,
                advice:
                    "the queue stayed full (\((try? attributes.maximumMessages) ?? 0) messages); start a receiver, or allow more time"
            )
        }
    }

    /// Sends a message if there is room.
    ///
    /// - Returns: False if the queue is full.
    public borrowing func trySend(_ bytes: RawSpan, priority: UInt32 = 0) throws(IPCError) -> Bool {
        // A time in the past: the queue's clock is the wall clock, so deadlines are kept by ppoll on the monotonic one.
        var past = timespec()
        let raw = owned.rawValue
        let result = unsafe bytes.withUnsafeBytes { buffer in
            retryingInterrupts { unsafe ipc_mq_timedsend(raw, buffer.baseAddress, buffer.count, priority, &past) }
        }
        switch result {
        case .success: return true
        case .failure(.timedOut), .failure(.resourceTemporarilyUnavailable): return false
        case .failure(let errno): throw sendError(errno, bytes.byteCount, priority)
        }
    }

    /// Receives the oldest message of the highest priority, waiting for one. The C function is `mq_receive`.
    ///
    /// - Parameters:
    ///   - buffer: At least ``messageSize`` bytes, however short the message is: the kernel insists.
    ///   - deadline: When to give up.
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/messageTooLarge`` if the buffer is too small, and the message
    ///   stays; ``IPCError/Code/permissionDenied`` if it was opened for sending.
    public borrowing func receive(into buffer: inout MutableRawSpan, until deadline: Deadline = .never)
        throws(IPCError) -> Received
    {
        if deadline == .never {
            var priority: UInt32 = 0
            let raw = owned.rawValue
            let result = unsafe buffer.withUnsafeMutableBytes { bytes in
                retryingInterrupts { unsafe ipc_mq_receive(raw, bytes.baseAddress, bytes.count, &priority) }
            }
            switch result {
            case .success(let count): return Received(byteCount: count, priority: priority)
            case .failure(.resourceTemporarilyUnavailable): break
            case .failure(let errno): throw receiveError(errno, buffer.byteCount)
            }
        }
        while true {
            if let received = try tryReceive(into: &buffer) { return received }
            guard try Readiness.readable.wait(for: owned.rawValue, until: deadline) else {
                throw .timedOut("mq_receive", name)
            }
        }
    }

    /// Receives a message if there is one; nil otherwise.
    public borrowing func tryReceive(into buffer: inout MutableRawSpan) throws(IPCError) -> Received? {
        var priority: UInt32 = 0
        var past = timespec()
        let raw = owned.rawValue
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            retryingInterrupts { unsafe ipc_mq_timedreceive(raw, bytes.baseAddress, bytes.count, &priority, &past) }
        }
        switch result {
        case .success(let count): return Received(byteCount: count, priority: priority)
        case .failure(.timedOut), .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno): throw receiveError(errno, buffer.byteCount)
        }
    }

    /// Receives a message as an array, for convenience: allocates.
    public borrowing func receive(until deadline: Deadline = .never) throws(IPCError) -> Message {
        var bytes = [UInt8](repeating: 0, count: messageSize)
        var elements = bytes.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let received = try receive(into: &buffer, until: deadline)
        bytes.removeSubrange(received.byteCount...)
        return Message(bytes: bytes, priority: received.priority)
    }

    /// Closes the descriptor; queue and messages remain.
    public consuming func close() throws(IPCError) { try owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { owned.release() }

    private borrowing func sendError(_ errno: Errno, _ byteCount: Int, _ priority: UInt32) -> IPCError {
        switch errno {
        case .messageTooLong:
            IPCError(
                "mq_send", name, errno,
                advice:
                    "the message has \(byteCount) bytes, but this queue takes \(messageSize); send less, or create it with a larger messageSize"
            )
        case .invalidArgument where !Self.priorities.contains(priority):
            IPCError("mq_send", name, errno, advice: "priority \(priority) is outside of \(Self.priorities)")
        case .badFileDescriptor:
            IPCError(
                .permissionDenied, "mq_send", name, errno: errno,
                advice: "it was opened for receiving only; open it for sending too")
        default: IPCError("mq_send", name, errno)
        }
    }

    private borrowing func receiveError(_ errno: Errno, _ capacity: Int) -> IPCError {
        switch errno {
        case .messageTooLong:
            IPCError(
                "mq_receive", name, errno,
                advice:
                    "the buffer has \(capacity) bytes, but this queue's messages need \(messageSize); the message stays: use a larger buffer"
            )
        case .badFileDescriptor:
            IPCError(
                .permissionDenied, "mq_receive", name, errno: errno,
                advice: "it was opened for sending only; open it for receiving too")
        default: IPCError("mq_receive", name, errno)
        }
    }
}
