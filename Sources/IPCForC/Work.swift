// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are those of C.
public import CIPCInterface
import Glibc
import IPC
import IPCChannels

/// A job or a call as C has it.
struct OpenMessage: ~Copyable {
    let message: TakenMessage
    let channel: AnyChannel
    /// A copy of its bytes, which stays where it is; freed when the message is ended.
    let bytes: UnsafeMutableRawPointer
    let count: Int
}

@c @implementation
public func ipc_take(
    _ pointer: OpaquePointer?, _ out: UnsafeMutablePointer<OpaquePointer?>?, _ timeout: Int64,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let out = try output(out, "message", "ipc_take")
        guard let handle = Handle<OpenReader>(pointer, .reader) else { throw .handle("reader", "ipc_take") }
        let message = try handle.value.pointee.reader.take(until: Deadline(timeout: timeout))
        let bytes = try message.bytes
        let open = OpenMessage(
            message: message, channel: handle.value.pointee.channel, bytes: try allocated(bytes), count: bytes.count)
        out.pointee = Handle(open, .message).pointer
    }
}

@c @implementation
public func ipc_message_bytes(
    _ pointer: OpaquePointer?, _ count: UnsafeMutablePointer<Int>?
) -> UnsafeRawPointer? {
    guard let handle = Handle<OpenMessage>(pointer, .message) else {
        count?.pointee = 0
        return nil
    }
    count?.pointee = handle.value.pointee.count
    return UnsafeRawPointer(handle.value.pointee.bytes)
}

@c @implementation
public func ipc_message_attempt(_ pointer: OpaquePointer?) -> UInt32 {
    UInt32(clamping: Handle<OpenMessage>(pointer, .message)?.value.pointee.message.attempt ?? 0)
}

@c @implementation
public func ipc_message_is_cancelled(_ pointer: OpaquePointer?) -> Int32 {
    Handle<OpenMessage>(pointer, .message)?.value.pointee.message.isCancelled ?? false ? 1 : 0
}

/// Closes the handle of a message, and ends the message.
private func end(
    _ pointer: OpaquePointer?, _ name: String, _ error: ErrorPointer,
    _ body: (consuming TakenMessage, AnyChannel) throws(IPCError) -> Void
) -> Int32 {
    call(error) { () throws(IPCError) in
        guard let handle = Handle<OpenMessage>(pointer, .message) else { throw .handle("message", name) }
        let open = handle.take()
        // Not before: a reply may consist of the bytes of its request.
        let (bytes, channel) = (open.bytes, open.channel)
        defer { free(bytes) }
        try body(open.message, channel)
    }
}

@c @implementation
public func ipc_acknowledge(_ pointer: OpaquePointer?, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    end(pointer, "ipc_acknowledge", error) { (message, _) throws(IPCError) in try message.acknowledge() }
}

@c @implementation
public func ipc_reject(
    _ pointer: OpaquePointer?, _ delay: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    end(pointer, "ipc_reject", error) { (message, _) throws(IPCError) in
        message.reject(after: delay < 0 ? nil : .nanoseconds(delay))
    }
}

@c @implementation
public func ipc_give_back(_ pointer: OpaquePointer?, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    end(pointer, "ipc_give_back", error) { (message, _) throws(IPCError) in try message.release() }
}

@c @implementation
public func ipc_reply(
    _ pointer: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    end(pointer, "ipc_reply", error) { (message, channel) throws(IPCError) in
        try message.reply(span(bytes, count, "ipc_reply", of: channel).bytes)
    }
}

@c @implementation
public func ipc_fail(
    _ pointer: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    end(pointer, "ipc_fail", error) { (message, channel) throws(IPCError) in
        try message.fail(span(bytes, count, "ipc_fail", of: channel).bytes)
    }
}
