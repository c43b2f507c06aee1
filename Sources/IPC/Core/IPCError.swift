public import SystemPackage

/// The one error that this library throws: what was attempted, on what, why it failed, and what to do about it.
///
/// ```swift
/// do throws(IPCError) {
///     try queue.send(bytes.span.bytes, until: .after(.seconds(1)))
/// } catch where error.code == .timedOut {
///     // The queue stayed full for a second.
/// }
/// ```
public struct IPCError: Error, Hashable, Sendable {
    /// What kind of failure it is, for a program to decide on.
    public enum Code: String, Hashable, Sendable {
        /// The deadline passed before the operation could be finished.
        case timedOut
        /// The task that waited was cancelled.
        case cancelled
        /// The other side has gone: a pipe without a reader, a connection that was reset.
        case brokenPipe
        /// The stream ended before as many bytes came as were asked for.
        case endOfFile
        /// A name that was to be created exists already.
        case alreadyExists
        /// No object has this name, or no process has this identifier.
        case notFound
        /// The object exists, but nobody serves it.
        case connectionRefused
        /// An address or a socket file is held by a live server.
        case addressInUse
        /// The object's mode, or a limit on privileges, forbids it.
        case permissionDenied
        /// A name or a path that this mechanism cannot have.
        case invalidName
        /// An argument outside of what the operation takes.
        case invalidArgument
        /// The message does not fit into the queue, the datagram, or the buffer.
        case messageTooLarge
        /// A limit of the system, the user or the process is reached.
        case limitReached
        /// As many calls wait for a server already as the service was created for. Nothing was sent: call again later, or elsewhere.
        case overloaded
        /// No space is left in the file system that holds the object.
        case noSpace
        /// The object is of another kind than the operation needs.
        case wrongType
        /// The object exists, with other options than were asked for. The error names both sides.
        case incompatibleOptions
        /// The object exists, but its creator has not finished it, or nobody serves it yet.
        case notReady
        /// The object's content cannot be what a well-behaved peer writes.
        case corrupted
        /// File descriptors that the peer sent were lost on the way.
        case descriptorsTruncated
        /// The holder of a lock died; the state that it guards may be half changed.
        case ownerDied
        /// The holder of a lock died and nobody repaired the state that it guards.
        case notRecoverable
        /// The worker does not have the job any more: others took it for dead, and another may have it.
        case leaseLost
        /// The kernel or this build lacks the operation.
        case unsupported
        /// The object was removed while it was in use: new users meet in another one of its name, if any.
        case removed
        /// The participant is the parent's: this process was forked from it, and has no part in what it joined.
        case inherited
        /// A child process failed, or could not be started.
        case childFailed
        /// Any other error of the system: see ``IPCError/errno``.
        case system
    }

    /// What kind of failure it is.
    public let code: Code
    /// The call or the action that failed, such as `mq_open`.
    public let operation: String
    /// The name of the object that it failed on, such as `/jobs`.
    public let resource: String
    /// The system's error number, when the system reported one.
    public let errno: Errno?
    /// What happened and what to do about it, in a sentence.
    public let advice: String
    /// How many bytes had been transferred before the failure. They are not taken back.
    public let transferred: Int

    package init(
        _ code: Code, _ operation: String, _ resource: String, errno: Errno? = nil, advice: String, transferred: Int = 0
    ) {
        self.code = code
        self.operation = operation
        self.resource = resource
        self.errno = errno
        self.advice = advice
        self.transferred = transferred
    }

    /// The error for a system call that failed with `errno`, with advice that holds for every mechanism.
    package init(_ operation: String, _ resource: String, _ errno: Errno, advice: String? = nil, transferred: Int = 0) {
        guard let advice else {
            let refusal = Self.refusal(of: operation, errno)
            self.init(
                refusal == nil ? Code(errno) : .unsupported, operation, resource, errno: errno,
                advice: refusal ?? Self.commonAdvice(errno), transferred: transferred)
            return
        }
        self.init(
            Code(errno), operation, resource, errno: errno, advice: advice, transferred: transferred)
    }

    /// Calls that ask for no permission. If one is not permitted, a sandbox says so, and no mode of a file.
    private static let callsForEveryone: Set<String> = [
        "epoll_create1", "eventfd", "futex", "inotify_init1", "memfd_create", "pidfd_open", "pipe2", "ppoll",
        "signalfd", "socketpair", "tee", "timerfd_create",
    ]

    /// What to say of a call that a sandbox refuses, or the kernel does not have; nil if it is neither.
    private static func refusal(of operation: String, _ errno: Errno) -> String? {
        switch errno {
        case .noFunction:
            "the kernel lacks this system call, or a sandbox (seccomp) refuses it; allow it in the sandbox"
        case .notPermitted where callsForEveryone.contains(operation):
            "a sandbox (seccomp) refuses this system call; allow it in the sandbox"
        default: nil
        }
    }

    package static func timedOut(_ operation: String, _ resource: String, transferred: Int = 0) -> IPCError {
        IPCError(
            .timedOut, operation, resource, advice: "the deadline passed; try again, or allow more time",
            transferred: transferred)
    }

    /// A stream that is collected brought more than it may.
    package static func overLimit(_ limit: Int, _ resource: String, _ collected: Int) -> IPCError {
        IPCError(
            .messageTooLarge, "read", resource,
            advice: "the data exceeds the limit of \(limit) bytes; raise the limit", transferred: collected)
    }

    /// The object has another value of an option than the caller asked for.
    package static func incompatible(
        _ operation: String, _ resource: String, _ option: String, existing: String, asked: String
    ) -> IPCError {
        IPCError(
            .incompatibleOptions, operation, resource,
            advice: "it exists with \(option) \(existing), but \(asked) was requested; "
                + "open it without this option, request the same value, or unlink it first")
    }

    package static func cancelled(_ operation: String, _ resource: String) -> IPCError {
        IPCError(.cancelled, operation, resource, advice: "the task was cancelled; nothing was done")
    }
}

extension IPCError {
    /// The same error, of a call that was one of several: so many bytes had gone before it in all.
    func after(transferring count: Int) -> IPCError {
        IPCError(code, operation, resource, errno: errno, advice: advice, transferred: count)
    }
}

extension IPCError: CustomStringConvertible {
    /// The whole error in one line: operation, resource, and advice. Control characters in them are written as `\u{1b}`.
    public var description: String {
        let subject = resource.isEmpty ? operation : "\(operation) \"\(resource)\""
        let reason = errno.map { " (\($0))" } ?? ""
        return "\(subject): \(advice)\(reason)".escapingControls
    }
}

extension IPCError.Code {
    init(_ errno: Errno) {
        switch errno {
        case .timedOut: self = .timedOut
        case .brokenPipe, .connectionReset, .socketNotConnected: self = .brokenPipe
        case .fileExists: self = .alreadyExists
        case .noSuchFileOrDirectory, .noSuchProcess: self = .notFound
        case .connectionRefused: self = .connectionRefused
        case .addressInUse: self = .addressInUse
        case .permissionDenied, .notPermitted, .readOnlyFileSystem: self = .permissionDenied
        case .fileNameTooLong: self = .invalidName
        case .invalidArgument, .outOfRange: self = .invalidArgument
        case .messageTooLong: self = .messageTooLarge
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .noBufferSpace, .resourceTemporarilyUnavailable:
            self = .limitReached
        case .noSpace, .diskQuotaExceeded: self = .noSpace
        case .noFunction, .notSupported: self = .unsupported
        default: self = .system
        }
    }
}

extension IPCError {
    private static func commonAdvice(_ errno: Errno) -> String {
        switch errno {
        case .fileExists: "it already exists; open it, or unlink it first"
        case .noSuchFileOrDirectory: "it does not exist; create it first"
        case .noSuchProcess: "there is no such process; it may have ended"
        case .notPermitted:
            "not permitted: it belongs to another user, or needs a privilege, or a sandbox (seccomp) refuses this system call"
        case .permissionDenied:
            "permission denied; the default mode is 0600: run as the owner, or create it with wider permissions"
        case .tooManyOpenFiles:
            "this process has reached its limit of \(SystemLimits.openFiles) open descriptors; close some, or raise the limit (ulimit -n)"
        case .tooManyOpenFilesInSystem: "the system is out of file descriptors; raise fs.file-max"
        case .noSpace: "no space left; free some, or request less"
        case .brokenPipe, .connectionReset, .socketNotConnected: "the other side has closed; connect again"
        case .connectionRefused: "no process is listening there; start the server first"
        case .addressInUse: "another process is using this address; stop that process, or choose another address"
        case .addressNotAvailable: "this machine has no such address"
        case .noMemory: "the system is out of memory, or a memory limit is reached"
        case .fileNameTooLong: "the name is too long; choose a shorter one"
        default: "the call failed"
        }
    }
}
