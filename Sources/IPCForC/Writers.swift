// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are those of C.
public import CIPCInterface
import Glibc
import IPC
import IPCChannels

/// A writer as C has it.
struct OpenWriter: ~Copyable {
    var writer: ChannelWriter
    let channel: AnyChannel
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
        let open = OpenWriter(writer: try opened.channel.makeWriter(), channel: opened.channel)
        out.pointee = Handle(open, .writer).pointer
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
    // Most messages need no more than this. Whatever else has to be done is one call, the last thing here.
    if let bytes, let handle = Handle<OpenWriter>(pointer, .writer),
        handle.value.pointee.writer.writeAloneAtOnce(bytes, count)
    {
        return 0
    }
    return writeShared(pointer, bytes, count, timeout, error)
}

@inline(never)
private func writeShared(
    _ pointer: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int, _ timeout: Int64, _ error: ErrorPointer
) -> Int32 {
    if let bytes, let handle = Handle<OpenWriter>(pointer, .writer),
        handle.value.pointee.writer.writeAtOnce(bytes, count)
    {
        return 0
    }
    return writeSlowly(pointer, bytes, count, timeout, error)
}

@inline(never)
private func writeSlowly(
    _ pointer: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int, _ timeout: Int64, _ error: ErrorPointer
) -> Int32 {
    call(error) { () throws(IPCError) in
        let writer = try writer(pointer, "ipc_write")
        try write(span(bytes, count, "ipc_write", of: writer.pointee.channel).bytes, writer, timeout)
    }
}

private func write(
    _ bytes: RawSpan, _ writer: UnsafeMutablePointer<OpenWriter>, _ timeout: Int64
) throws(IPCError) {
    if timeout != 0 { return try writer.pointee.writer.write(bytes, until: Deadline(timeout: timeout)) }
    guard try !writer.pointee.writer.tryWrite(bytes) else { return }
    throw IPCError(
        .timedOut, "write", writer.pointee.channel.name.description,
        advice: "there is no room now; wait for it with a time-out")
}

@c @implementation
public func ipc_write_many(
    _ pointer: OpaquePointer?, _ messages: UnsafeRawPointer?, _ count: Int, _ written: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        written?.pointee = 0
        let writer = try writer(pointer, "ipc_write_many")
        let channel = writer.pointee.channel
        guard let size = channel.messageSize else {
            throw .argument("writer", "ipc_write_many", "its messages have no fixed size; use ipc_write", of: channel)
        }
        let (total, isTooLarge) = count.multipliedReportingOverflow(by: size)
        guard !isTooLarge else {
            throw .argument("count", "ipc_write_many", "\(UInt(bitPattern: count)) is too large", of: channel)
        }
        let all = try span(messages, total, "ipc_write_many", of: channel)
        var index = 0
        defer { written?.pointee = index }
        // Of all, not of each: what is left of it.
        let deadline = timeout > 0 ? Deadline(timeout: timeout) : nil
        while index < count {
            if let base = all.baseAddress, writer.pointee.writer.writeAtOnce(base + index * size, size) {
                index += 1
                continue
            }
            let message = UnsafeRawBufferPointer(rebasing: all[index * size..<(index + 1) * size]).bytes
            if let deadline {
                try writer.pointee.writer.write(message, until: deadline)
            } else {
                try write(message, writer, timeout)
            }
            index += 1
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
            span(bytes, count, "ipc_send", of: writer.pointee.channel).bytes, options,
            until: Deadline(timeout: timeout))
    }
}

@c @implementation
public func ipc_reserve(
    _ pointer: OpaquePointer?, _ capacity: Int, _ bytes: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        bytes?.pointee = nil
        let writer = try writer(pointer, "ipc_reserve")
        guard let bytes else { throw .argument("bytes", "ipc_reserve", "it is NULL", of: writer.pointee.channel) }
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
        let result = try output(result, "result", "ipc_call")
        let writer = try writer(pointer, "ipc_call")
        let outcome = try writer.pointee.writer.call(
            span(request, count, "ipc_call", of: writer.pointee.channel).bytes,
            replyLimit: Int(clamping: UInt(bitPattern: replyLimit)), CallOptions(retries, requiresServer),
            until: Deadline(timeout: timeout))
        result.pointee = try Handle(OpenResult(outcome), .result).pointer
    }
}

extension CallOptions {
    fileprivate init(_ retries: UInt32, _ requiresServer: Int32) {
        self.init(retries: Int(clamping: retries), requiresServer: requiresServer != 0)
    }
}

extension OpenResult {
    fileprivate init(_ outcome: CallOutcome) throws(IPCError) {
        let answer: [UInt8]
        switch outcome {
        case .reply(let bytes): (answer, isFailure) = (bytes, false)
        case .failure(let bytes): (answer, isFailure) = (bytes, true)
        }
        (bytes, count) = (try allocated(answer), answer.count)
    }
}

@c @implementation
public func ipc_call_begin(
    _ pointer: OpaquePointer?, _ request: UnsafeRawPointer?, _ count: Int, _ replyLimit: Int, _ retries: UInt32,
    _ requiresServer: Int32, _ out: UnsafeMutablePointer<OpaquePointer?>?, _ timeout: Int64,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let out = try output(out, "call", "ipc_call_begin")
        let writer = try writer(pointer, "ipc_call_begin")
        let begun = try writer.pointee.writer.begin(
            span(request, count, "ipc_call_begin", of: writer.pointee.channel).bytes,
            replyLimit: Int(clamping: UInt(bitPattern: replyLimit)), CallOptions(retries, requiresServer),
            until: Deadline(timeout: timeout))
        out.pointee = Handle(OpenCall(call: begun, channel: writer.pointee.channel), .call).pointer
    }
}

/// A call in progress as C has it.
struct OpenCall: ~Copyable {
    var call: PendingOutcome
    let channel: AnyChannel
}

private func openCall(_ pointer: OpaquePointer?, _ name: String) throws(IPCError) -> Handle<OpenCall> {
    guard let handle = Handle<OpenCall>(pointer, .call) else { throw .handle("call", name) }
    return handle
}

@c @implementation
public func ipc_call_wait(
    _ pointer: OpaquePointer?, _ result: UnsafeMutablePointer<OpaquePointer?>?, _ timeout: Int64,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let result = try output(result, "result", "ipc_call_wait")
        let handle = try openCall(pointer, "ipc_call_wait")
        guard let outcome = try handle.value.pointee.call.wait(until: Deadline(timeout: timeout)) else {
            throw IPCError(
                .timedOut, "wait for call", handle.value.pointee.channel.name.description,
                advice: "it has no outcome yet; wait again, or cancel it")
        }
        let open = try OpenResult(outcome)
        _ = handle.take()
        result.pointee = Handle(open, .result).pointer
    }
}

@c @implementation
public func ipc_call_arm(
    _ pointer: OpaquePointer?, _ descriptor: OpaquePointer?, _ isReady: UnsafeMutablePointer<Int32>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        isReady?.pointee = 0
        let handle = try openCall(pointer, "ipc_call_arm")
        try arm(handle.value.pointee.call.readiness(), descriptor, isReady, "ipc_call_arm")
    }
}

@c @implementation
public func ipc_call_cancel(_ pointer: OpaquePointer?) {
    _ = Handle<OpenCall>(pointer, .call)?.take()
}

@c @implementation
public func ipc_arm_room(
    _ pointer: OpaquePointer?, _ count: Int, _ descriptor: OpaquePointer?, _ isReady: UnsafeMutablePointer<Int32>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        isReady?.pointee = 0
        let writer = try writer(pointer, "ipc_arm_room")
        try arm(writer.pointee.writer.readiness(forRoom: count), descriptor, isReady, "ipc_arm_room")
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
