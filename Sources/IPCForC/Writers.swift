// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are those of C.
public import CIPCInterface
import Glibc
import IPC
import IPCChannels

/// A writer as C has it.
struct OpenWriter: ~Copyable {
    var writer: ChannelWriter
    let messageSize: Int?
    /// Whether room is reserved.
    var hasReserved = false
}

@inline(__always)
private func writer(_ pointer: OpaquePointer?, _ call: String) throws(IPCError) -> UnsafeMutablePointer<OpenWriter> {
    guard let handle = Handle<OpenWriter>(pointer, .writer) else { throw .handle("writer", call) }
    return handle.value
}

@c @implementation
public func ipc_writer_open(
    _ channel: OpaquePointer?, _ out: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let out = try output(out, "writer", "ipc_writer_open")
        guard let opened = opened(channel) else { throw .handle("channel", "ipc_writer_open") }
        let state = OpenWriter(
            writer: try opened.channel.makeWriter(), messageSize: opened.channel.messageSize)
        out.pointee = Handle(state, .writer).pointer
    }
}

@c @implementation
public func ipc_writer_close(_ pointer: OpaquePointer?) {
    guard let handle = Handle<OpenWriter>(pointer, .writer) else { return }
    var open = handle.take()
    // What is reserved would hold all readers up.
    if open.hasReserved { try? open.writer.abandon() }
}

@c @implementation
public func ipc_write(
    _ pointer: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int, _ timeout: Int64,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_write")
        let bytes = try span(bytes, count, "ipc_write").bytes
        if timeout != 0 { return try writer.pointee.writer.write(bytes, until: Deadline(timeout: timeout)) }
        guard try writer.pointee.writer.tryWrite(bytes) else { throw full }
    }
}

private var full: IPCError {
    IPCError(.timedOut, "write", "channel", advice: "there is no room now; wait for it with a time-out")
}

@c @implementation
public func ipc_write_many(
    _ pointer: OpaquePointer?, _ messages: UnsafeRawPointer?, _ count: Int, _ written: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_write_many")
        written?.pointee = 0
        guard let size = writer.pointee.messageSize else {
            throw .argument("writer", "ipc_write_many", "its messages have no fixed size; use ipc_write")
        }
        let (total, isTooLarge) = count.multipliedReportingOverflow(by: size)
        guard !isTooLarge else { throw .argument("count", "ipc_write_many", "\(count) is too large") }
        let all = try span(messages, total, "ipc_write_many")
        let deadline = Deadline(timeout: timeout)
        for index in 0..<max(count, 0) {
            let message = UnsafeRawBufferPointer(rebasing: all[index * size..<(index + 1) * size]).bytes
            if try !writer.pointee.writer.tryWrite(message) {
                guard timeout != 0 else { throw full }
                try writer.pointee.writer.write(message, until: deadline)
            }
            written?.pointee = index + 1
        }
    }
}

@c @implementation
public func ipc_send(
    _ pointer: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int, _ delay: Int64, _ timeToLive: Int64,
    _ requiresWorker: Int32, _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_send")
        let options = JobOptions(
            delay: .nanoseconds(max(delay, 0)), timeToLive: timeToLive < 0 ? nil : .nanoseconds(timeToLive),
            requiresWorker: requiresWorker != 0)
        try writer.pointee.writer.write(
            span(bytes, count, "ipc_send").bytes, options, until: Deadline(timeout: timeout))
    }
}

@c @implementation
public func ipc_reserve(
    _ pointer: OpaquePointer?, _ capacity: Int, _ bytes: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_reserve")
        guard let bytes else { throw .argument("bytes", "ipc_reserve", "it is NULL") }
        let room = try writer.pointee.writer.reserve(capacity, until: Deadline(timeout: timeout))
        writer.pointee.hasReserved = true
        bytes.pointee = room.baseAddress
    }
}

@c @implementation
public func ipc_commit(
    _ pointer: OpaquePointer?, _ count: Int, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_commit")
        try writer.pointee.writer.commit(count)
        writer.pointee.hasReserved = false
    }
}

@c @implementation
public func ipc_abandon(_ pointer: OpaquePointer?, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_abandon")
        try writer.pointee.writer.abandon()
        writer.pointee.hasReserved = false
    }
}

/// The answer to a call as C has it.
struct OpenResult {
    let bytes: UnsafeMutableRawPointer
    let count: Int
    let isFailure: Bool
}

@c @implementation
public func ipc_call(
    _ pointer: OpaquePointer?, _ request: UnsafeRawPointer?, _ count: Int, _ replyLimit: Int, _ retries: UInt32,
    _ requiresServer: Int32, _ result: UnsafeMutablePointer<OpaquePointer?>?, _ timeout: Int64,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_call")
        let result = try output(result, "result", "ipc_call")
        let options = CallOptions(retries: Int(clamping: retries), requiresServer: requiresServer != 0)
        let outcome = try writer.pointee.writer.call(
            span(request, count, "ipc_call").bytes, replyLimit: replyLimit, options, until: Deadline(timeout: timeout))
        let (bytes, isFailure) =
            switch outcome {
            case .reply(let bytes): (bytes, false)
            case .failure(let bytes): (bytes, true)
            }
        let open = OpenResult(bytes: try allocated(bytes), count: bytes.count, isFailure: isFailure)
        result.pointee = Handle(open, .result).pointer
    }
}

@c @implementation
public func ipc_result_bytes(
    _ pointer: OpaquePointer?, _ count: UnsafeMutablePointer<Int>?
) -> UnsafeRawPointer? {
    guard let handle = Handle<OpenResult>(pointer, .result) else {
        count?.pointee = 0
        return nil
    }
    count?.pointee = handle.value.pointee.count
    return UnsafeRawPointer(handle.value.pointee.bytes)
}

@c @implementation
public func ipc_result_is_failure(_ pointer: OpaquePointer?) -> Int32 {
    Handle<OpenResult>(pointer, .result)?.value.pointee.isFailure ?? false ? 1 : 0
}

@c @implementation
public func ipc_result_free(_ pointer: OpaquePointer?) {
    guard let handle = Handle<OpenResult>(pointer, .result) else { return }
    free(handle.take().bytes)
}

@c @implementation
public func ipc_notify(_ pointer: OpaquePointer?, _ count: UInt32, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    call(error) { () throws(IPCError) in
        try writer(pointer, "ipc_notify").pointee.writer.notify(count: Int(count))
    }
}

@c @implementation
public func ipc_notify_all(_ pointer: OpaquePointer?, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    call(error) { () throws(IPCError) in
        try writer(pointer, "ipc_notify_all").pointee.writer.notifyAll()
    }
}

@c @implementation
public func ipc_sync(
    _ pointer: OpaquePointer?, _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        try writer(pointer, "ipc_sync").pointee.writer.sync(until: Deadline(timeout: timeout))
    }
}
