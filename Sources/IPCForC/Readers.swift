// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are those of C.
public import CIPCInterface
import Glibc
import IPC
import IPCChannels

/// A reader as C has it.
struct OpenReader: ~Copyable {
    var reader: ChannelReader
    let channel: AnyChannel
    /// A latest value that was received, and that the caller had no room for.
    var pending: [UInt8]?
    /// What ended a call that had received something: the next call tells.
    var failure: IPCError?
}

@inline(__always)
private func reader(_ pointer: OpaquePointer?, _ call: String) throws(IPCError) -> UnsafeMutablePointer<OpenReader> {
    guard let handle = Handle<OpenReader>(pointer, .reader) else { throw .handle("reader", call) }
    return handle.value
}

@c @implementation
public func ipc_reader_open(
    _ channel: OpaquePointer?, _ given: UnsafePointer<ipc_reader_options>?,
    _ out: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let out = try output(out, "reader", "ipc_reader_open")
        guard let opened = opened(channel) else { throw .handle("channel", "ipc_reader_open") }
        let usual = ipc_reader_options(
            size: MemoryLayout<ipc_reader_options>.size, start: IPC_NEXT, count: 0, spins: 2000, observe: 0)
        let channel = opened.channel
        let name = channel.name.description
        let options = try IPCForC.given(given, or: usual, "ipc_reader_open", of: name)
        let start: SubscriptionStart
        switch options.start {
        case IPC_NEXT: start = .next
        case IPC_OLDEST: start = .oldest
        case IPC_LAST: start = .last(Int(options.count))
        default:
            throw .argument(
                "start", "ipc_reader_open", "it is \(options.start.rawValue); there are 0 to 2", of: name)
        }
        let waiting = options.spins < 0 ? WaitStrategy.polling : .sleeping(spins: Int(options.spins))
        let reader =
            options.observe != 0
            ? try channel.makeObserver(from: start, waiting: waiting)
            : try channel.makeReader(from: start, waiting: waiting)
        out.pointee = Handle(OpenReader(reader: reader, channel: channel), .reader).pointer
    }
}

@c @implementation
public func ipc_reader_close(_ pointer: OpaquePointer?) {
    guard let handle = Handle<OpenReader>(pointer, .reader) else { return }
    _ = handle.take()
}

@c @implementation
public func ipc_receive(
    _ pointer: OpaquePointer?, _ buffer: UnsafeMutableRawPointer?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    // Most messages need no more than this. Whatever else has to be done is one call, the last thing here.
    if let buffer, let handle = Handle<OpenReader>(pointer, .reader),
        handle.value.pointee.reader.receiveAtOnce(buffer, capacity, count)
    {
        return 0
    }
    return receivePolling(pointer, buffer, capacity, count, timeout, error)
}

/// Polls before it makes the general call: a message that comes meanwhile is with the caller sooner.
@inline(never)
private func receivePolling(
    _ pointer: OpaquePointer?, _ buffer: UnsafeMutableRawPointer?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: ErrorPointer
) -> Int32 {
    if timeout != 0, let buffer, let handle = Handle<OpenReader>(pointer, .reader),
        handle.value.pointee.reader.spin(), handle.value.pointee.reader.receiveAtOnce(buffer, capacity, count)
    {
        return 0
    }
    return receiveSlowly(pointer, buffer, capacity, count, timeout, error)
}

@inline(never)
private func receiveSlowly(
    _ pointer: OpaquePointer?, _ buffer: UnsafeMutableRawPointer?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: ErrorPointer
) -> Int32 {
    call(error) { () throws(IPCError) in
        count?.pointee = 0
        let reader = try reader(pointer, "ipc_receive")
        let channel = reader.pointee.channel
        guard buffer != nil || capacity == 0 else {
            throw .argument("buffer", "ipc_receive", "it is NULL", of: channel)
        }
        if channel.pattern == .topic {
            let message = try borrowed(reader, timeout)
            try copy(message, to: buffer, capacity, count, channel)
            try reader.pointee.reader.advance()
        } else {
            let value = try newest(reader, timeout)
            reader.pointee.pending = value
            try value.span.withUnsafeBytes { (bytes) throws(IPCError) in
                try copy(bytes, to: buffer, capacity, count, channel)
            }
            reader.pointee.pending = nil
        }
    }
}

@inline(__always)
private func borrowed(
    _ reader: UnsafeMutablePointer<OpenReader>, _ timeout: Int64
) throws(IPCError) -> UnsafeRawBufferPointer {
    if let failure = reader.pointee.failure.take() { throw failure }
    guard timeout == 0 else {
        return try checked(reader.pointee.reader.borrow(until: Deadline(timeout: timeout)), reader)
    }
    guard let message = try reader.pointee.reader.tryBorrow() else { throw nothing(reader.pointee.channel) }
    return try checked(message, reader)
}

/// A message that was borrowed, if it has a size of the channel's type. Another one counts as received: nobody could ever receive it.
@inline(__always)
private func checked(
    _ message: UnsafeRawBufferPointer, _ reader: UnsafeMutablePointer<OpenReader>
) throws(IPCError) -> UnsafeRawBufferPointer {
    do throws(IPCError) { try reader.pointee.reader.check(received: message.count) } catch {
        try reader.pointee.reader.advance()
        throw error
    }
    return message
}

private func nothing(_ channel: AnyChannel) -> IPCError {
    IPCError(
        .timedOut, "receive", channel.name.description, advice: "nothing is there now; wait for it with a time-out")
}

/// A value that was not received yet.
private func newest(_ reader: UnsafeMutablePointer<OpenReader>, _ timeout: Int64) throws(IPCError) -> [UInt8] {
    if let pending = reader.pointee.pending {
        // Only the newest matters: there may be one by now.
        return try reader.pointee.reader.tryReceive() ?? pending
    }
    return try reader.pointee.reader.receive(until: Deadline(timeout: timeout))
}

/// - Parameter count: Gets the size of the message, also if that is more than the capacity.
private func copy(
    _ message: UnsafeRawBufferPointer, to buffer: UnsafeMutableRawPointer?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ channel: AnyChannel
) throws(IPCError) {
    count?.pointee = message.count
    guard message.count <= capacity else {
        throw IPCError(
            .messageTooLarge, "receive", channel.name.description,
            advice: "the message has \(message.count) bytes, and the buffer \(capacity); receive it into a larger one")
    }
    if let buffer, let base = message.baseAddress {
        buffer.copyMemory(from: base, byteCount: message.count)
    }
}

@c @implementation
public func ipc_borrow(
    _ pointer: OpaquePointer?, _ bytes: UnsafeMutablePointer<UnsafeRawPointer?>?, _ count: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        bytes?.pointee = nil
        count?.pointee = 0
        let reader = try reader(pointer, "ipc_borrow")
        guard let bytes, let count else {
            throw .argument("bytes, count", "ipc_borrow", "one of them is NULL", of: reader.pointee.channel)
        }
        let message = try borrowed(reader, timeout)
        bytes.pointee = message.baseAddress
        count.pointee = message.count
    }
}

@c @implementation
public func ipc_release(_ pointer: OpaquePointer?, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    call(error) { () throws(IPCError) in try reader(pointer, "ipc_release").pointee.reader.advance() }
}

@c @implementation
public func ipc_receive_many(
    _ pointer: OpaquePointer?, _ buffer: UnsafeMutableRawPointer?, _ limit: Int, _ received: UnsafeMutablePointer<Int>?,
    _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        received?.pointee = 0
        let reader = try reader(pointer, "ipc_receive_many")
        let channel = reader.pointee.channel
        guard let buffer, let received, limit >= 0 else {
            throw .argument(
                "buffer, received", "ipc_receive_many", "one of them is NULL, or the limit is too large", of: channel)
        }
        guard channel.pattern == .topic, let size = channel.messageSize else {
            throw .argument(
                "reader", "ipc_receive_many", "its messages have no fixed size; use ipc_receive", of: channel)
        }
        var count = 0
        var isAtEnd = false
        if let failure = reader.pointee.failure.take() { throw failure }
        while count < limit {
            let place = buffer + count * size
            if size <= ChannelWriter.mostAtOnce, reader.pointee.reader.receiveAtOnce(place, exactly: size) {
                count += 1
                isAtEnd = false
                continue
            }
            if count > 0, timeout != 0, !isAtEnd {
                isAtEnd = true
                reader.pointee.reader.keepPace()
                continue
            }
            if count == 0 {
                try receive(borrowed(reader, timeout), reader, to: place)
            } else {
                // What was received is given first; an error comes with the next call.
                do throws(IPCError) {
                    guard let message = try reader.pointee.reader.tryBorrow() else { break }
                    try receive(checked(message, reader), reader, to: place)
                } catch {
                    reader.pointee.failure = error
                    break
                }
            }
            count += 1
        }
        received.pointee = count
    }
}

/// Copies a message that was borrowed, which counts as received then.
private func receive(
    _ message: UnsafeRawBufferPointer, _ reader: UnsafeMutablePointer<OpenReader>, to place: UnsafeMutableRawPointer
) throws(IPCError) {
    if let base = message.baseAddress { place.copyMemory(from: base, byteCount: message.count) }
    try reader.pointee.reader.advance()
}

@c @implementation
public func ipc_get(
    _ pointer: OpaquePointer?, _ buffer: UnsafeMutableRawPointer?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        count?.pointee = 0
        let reader = try reader(pointer, "ipc_get")
        let channel = reader.pointee.channel
        guard channel.pattern == .latest else {
            throw IPCError(
                .wrongType, "ipc_get", channel.name.description,
                advice: "only a latest value has it; use ipc_receive, ipc_take or ipc_wait")
        }
        guard buffer != nil || capacity == 0 else {
            throw .argument("buffer", "ipc_get", "it is NULL", of: channel)
        }
        reader.pointee.pending = nil
        guard let value = try reader.pointee.reader.tryReceive() else {
            throw IPCError(
                .notFound, "get", channel.name.description, advice: "no value was set yet; wait for one by ipc_receive")
        }
        try value.span.withUnsafeBytes { (bytes) throws(IPCError) in
            try copy(bytes, to: buffer, capacity, count, channel)
        }
    }
}

@c @implementation
public func ipc_missed(_ pointer: OpaquePointer?) -> UInt64 {
    Handle<OpenReader>(pointer, .reader)?.value.pointee.reader.takeMissed() ?? 0
}

@c @implementation
public func ipc_wait(
    _ pointer: OpaquePointer?, _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        try reader(pointer, "ipc_wait").pointee.reader.wait(until: Deadline(timeout: timeout))
    }
}

@c @implementation
public func ipc_round(_ pointer: OpaquePointer?) -> UInt64 {
    Handle<OpenReader>(pointer, .reader)?.value.pointee.reader.round() ?? 0
}

@c @implementation
public func ipc_wait_since(
    _ pointer: OpaquePointer?, _ round: UInt64, _ timeout: Int64, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        try reader(pointer, "ipc_wait_since").pointee.reader.wait(sinceRound: round, until: Deadline(timeout: timeout))
    }
}

@c @implementation
public func ipc_descriptor_open(
    _ path: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let out = try output(out, "descriptor", "ipc_descriptor_open")
        let descriptor = try ReadinessDescriptor(in: root(path, "ipc_descriptor_open"))
        out.pointee = Handle(descriptor, .descriptor).pointer
    }
}

@c @implementation
public func ipc_descriptor_close(_ pointer: OpaquePointer?) {
    _ = Handle<ReadinessDescriptor>(pointer, .descriptor)?.take()
}

@c @implementation
public func ipc_descriptor_file(_ pointer: OpaquePointer?) -> CInt {
    Handle<ReadinessDescriptor>(pointer, .descriptor)?.value.pointee.descriptor.rawValue ?? -1
}

@c @implementation
public func ipc_descriptor_clear(_ pointer: OpaquePointer?, _ error: UnsafeMutablePointer<ipc_error>?) -> Int32 {
    call(error) { () throws(IPCError) in
        guard let handle = Handle<ReadinessDescriptor>(pointer, .descriptor) else {
            throw .handle("descriptor", "ipc_descriptor_clear")
        }
        handle.value.pointee.clear()
    }
}

@c @implementation
public func ipc_arm(
    _ pointer: OpaquePointer?, _ descriptor: OpaquePointer?, _ isReady: UnsafeMutablePointer<Int32>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        isReady?.pointee = 0
        let reader = try reader(pointer, "ipc_arm")
        if reader.pointee.reader.isBorrowing || reader.pointee.pending != nil || reader.pointee.failure != nil {
            isReady?.pointee = 1
            return
        }
        try arm(reader.pointee.reader.readiness(), descriptor, isReady, "ipc_arm")
    }
}

/// - Parameter isReady: Gets 1 if there is something already; then it is not armed.
func arm(
    _ readiness: ChannelReadiness, _ descriptor: OpaquePointer?, _ isReady: UnsafeMutablePointer<Int32>?, _ call: String
) throws(IPCError) {
    guard let handle = Handle<ReadinessDescriptor>(descriptor, .descriptor) else {
        throw .handle("descriptor", call)
    }
    if try !readiness.arm(handle.value.pointee) { isReady?.pointee = 1 }
}
