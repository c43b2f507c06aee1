import CIPCInterface
import Glibc
import IPC
import IPCChannels

/// The error that a call of C fills.
typealias ErrorPointer = UnsafeMutablePointer<ipc_error>?

extension IPCError {
    /// The code that C gets.
    var interfaceCode: Int32 {
        let code =
            switch self.code {
            case .timedOut: IPC_TIMED_OUT
            case .notFound: IPC_NOT_FOUND
            case .alreadyExists: IPC_ALREADY_EXISTS
            case .wrongType: IPC_WRONG_TYPE
            case .incompatibleOptions: IPC_INCOMPATIBLE_OPTIONS
            case .permissionDenied: IPC_PERMISSION_DENIED
            case .limitReached: IPC_LIMIT_REACHED
            case .addressInUse: IPC_ADDRESS_IN_USE
            case .invalidArgument, .invalidName: IPC_INVALID_ARGUMENT
            case .messageTooLarge: IPC_MESSAGE_TOO_LARGE
            case .removed: IPC_REMOVED
            case .corrupted: IPC_CORRUPTED
            case .leaseLost: IPC_LEASE_LOST
            case .brokenPipe: IPC_BROKEN_PIPE
            case .overloaded: IPC_OVERLOADED
            case .notReady: IPC_NOT_READY
            case .inherited: IPC_INHERITED
            case .noSpace: IPC_NO_SPACE
            case .unsupported: IPC_UNSUPPORTED
            default: IPC_FAILED
            }
        return Int32(code)
    }
}

/// Runs a call of C: turns what it throws into a code and a filled error.
@inline(__always)
func call(_ error: ErrorPointer, _ body: () throws(IPCError) -> Void) -> Int32 {
    do throws(IPCError) {
        try body()
        return Int32(IPC_OK)
    } catch let failure {
        return fill(error, failure)
    }
}

/// Never inlined, so that a call that succeeds has none of it.
@inline(never)
private func fill(_ error: ErrorPointer, _ failure: IPCError) -> Int32 {
    let code = failure.interfaceCode
    guard let error else { return code }
    let start = MemoryLayout<ipc_error>.offset(of: \.text) ?? 16
    // What the caller's structure has room for; one whose size was not set is left alone.
    let size = min(error.pointee.size, MemoryLayout<ipc_error>.size)
    guard size > start else { return code }
    error.pointee.code = code
    error.pointee.system_error = failure.errno?.rawValue ?? 0
    var text = Array("\(failure)".utf8.prefix(size - start - 1))
    // No half character at its end.
    while String(validating: text, as: UTF8.self) == nil, !text.isEmpty { text.removeLast() }
    let target = UnsafeMutableRawPointer(error) + start
    text.withUnsafeBytes { bytes in
        if let base = bytes.baseAddress { target.copyMemory(from: base, byteCount: bytes.count) }
    }
    target.storeBytes(of: 0, toByteOffset: text.count, as: UInt8.self)
    return code
}

extension IPCError {
    /// - Parameter channel: Whose name the error has; nil if it is not known.
    static func argument(_ name: String, _ call: String, _ what: String, of channel: String? = nil) -> IPCError {
        guard let channel else { return IPCError(.invalidArgument, call, name, advice: what) }
        return IPCError(.invalidArgument, call, channel, advice: "\(name): \(what)")
    }

    static func argument(_ name: String, _ call: String, _ what: String, of channel: AnyChannel) -> IPCError {
        argument(name, call, what, of: channel.name.description)
    }

    /// A handle that is null, of another kind, or closed.
    static func handle(_ name: String, _ call: String) -> IPCError {
        argument(name, call, "the handle is NULL, of another kind, or was closed; open one first")
    }
}

extension Deadline {
    /// - Parameter timeout: Nanoseconds from now; negative for no limit.
    @inline(__always)
    init(timeout: Int64) {
        self = timeout < 0 ? .never : timeout == 0 ? .immediate : .after(.nanoseconds(timeout))
    }
}

/// A text of C.
///
/// - Parameter name: Of the argument.
func text(
    _ pointer: UnsafePointer<CChar>?, _ name: String, _ call: String, of channel: String? = nil
) throws(IPCError) -> String {
    guard let pointer else { throw .argument(name, call, "it is NULL; a text is needed", of: channel) }
    guard let text = String(validatingCString: pointer) else {
        throw .argument(name, call, "it is not UTF-8", of: channel)
    }
    return text
}

/// Bytes of C.
@inline(__always)
func span(
    _ bytes: UnsafeRawPointer?, _ count: Int, _ call: String, of channel: AnyChannel
) throws(IPCError) -> UnsafeRawBufferPointer {
    guard count >= 0, bytes != nil || count == 0 else {
        throw .argument(
            "bytes", call, "they are NULL, or their count (\(UInt(bitPattern: count))) is too large", of: channel)
    }
    return UnsafeRawBufferPointer(start: bytes, count: count)
}

/// A copy that C frees by `ipc_free`.
func allocated(_ bytes: some Collection<UInt8>) throws(IPCError) -> UnsafeMutableRawPointer {
    guard let copy = malloc(bytes.count + 1) else {
        throw IPCError(.noSpace, "malloc", "", advice: "there is no memory for \(bytes.count) bytes")
    }
    let buffer = UnsafeMutableRawBufferPointer(start: copy, count: bytes.count)
    buffer.copyBytes(from: bytes)
    copy.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
    return copy
}
