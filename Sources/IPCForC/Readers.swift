// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are those of C.
public import CIPCInterface
import Glibc
import IPC
import IPCChannels

/// A reader as C has it.
struct OpenReader: ~Copyable {
    var reader: ChannelReader
    let pattern: ChannelPattern
    let messageSize: Int?
    /// A latest value that was received, and that the caller had no room for.
    var pending: [UInt8]?
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
        let options = try IPCForC.given(given, or: usual, "ipc_reader_open")
        let start: SubscriptionStart
        switch options.start {
        case IPC_NEXT: start = .next
        case IPC_OLDEST: start = .oldest
        case IPC_LAST: start = .last(Int(options.count))
        default: throw .argument("start", "ipc_reader_open", "it is \(options.start.rawValue); there are 0 to 2")
        }
        let waiting = options.spins < 0 ? WaitStrategy.polling : .sleeping(spins: Int(options.spins))
        let channel = opened.channel
        let reader =
            options.observe != 0
            ? try channel.makeObserver(from: start, waiting: waiting)
            : try channel.makeReader(from: start, waiting: waiting)
        let state = OpenReader(reader: reader, pattern: channel.pattern, messageSize: channel.messageSize)
        out.pointee = Handle(state, .reader).pointer
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
    call(error) { () throws(IPCError) in
        let reader = try reader(pointer, "ipc_receive")
        guard buffer != nil || capacity == 0 else { throw .argument("buffer", "ipc_receive", "it is NULL") }
        if reader.pointee.pattern == .topic {
            let message = try borrowed(reader, timeout)
            count?.pointee = message.count
            try copy(message, to: buffer, capacity)
            try reader.pointee.reader.advance()
        } else {
            let value = try newest(reader, timeout)
            reader.pointee.pending = value
            count?.pointee = value.count
            try value.span.withUnsafeBytes { (bytes) throws(IPCError) in
                try copy(bytes, to: buffer, capacity)
            }
            reader.pointee.pending = nil
        }
    }
}

@inline(__always)
private func borrowed(
    _ reader: UnsafeMutablePointer<OpenReader>, _ timeout: Int64
) throws(IPCError) -> UnsafeRawBufferPointer {
    guard timeout == 0 else { return try reader.pointee.reader.borrow(until: Deadline(timeout: timeout)) }
    guard let message = try reader.pointee.reader.tryBorrow() else { throw nothing }
    return message
}

private var nothing: IPCError {
    IPCError(.timedOut, "receive", "channel", advice: "nothing is there now; wait for it with a time-out")
}

/// A value that was not received yet.
private func newest(_ reader: UnsafeMutablePointer<OpenReader>, _ timeout: Int64) throws(IPCError) -> [UInt8] {
    if let pending = reader.pointee.pending {
        // Only the newest matters: there may be one by now.
        return try reader.pointee.reader.tryReceive() ?? pending
    }
    return try reader.pointee.reader.receive(until: Deadline(timeout: timeout))
}

@inline(__always)
private func copy(
    _ message: UnsafeRawBufferPointer, to buffer: UnsafeMutableRawPointer?, _ capacity: Int
) throws(IPCError) {
    guard message.count <= capacity else {
        throw IPCError(
            .messageTooLarge, "receive", "channel",
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
        let reader = try reader(pointer, "ipc_borrow")
        guard let bytes, let count else {
            throw .argument("bytes, count", "ipc_borrow", "one of them is NULL")
        }
        guard reader.pointee.pattern == .topic else {
            throw .argument("reader", "ipc_borrow", "messages of topics can be borrowed; use ipc_receive or ipc_take")
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
        let reader = try reader(pointer, "ipc_receive_many")
        received?.pointee = 0
        guard let buffer, let received, limit >= 0 else {
            throw .argument("buffer, received", "ipc_receive_many", "one of them is NULL, or the limit is too large")
        }
        guard reader.pointee.pattern == .topic, let size = reader.pointee.messageSize else {
            throw .argument("reader", "ipc_receive_many", "its messages have no fixed size; use ipc_receive")
        }
        guard limit > 0 else { return }
        var message = try borrowed(reader, timeout)
        var count = 0
        while true {
            guard message.count == size else {
                // It counts as received: nobody could ever receive it.
                try reader.pointee.reader.advance()
                if count > 0 { break }
                throw IPCError(
                    .corrupted, "receive", "channel",
                    advice: "a message has \(message.count) bytes instead of \(size); see what its sender wrote")
            }
            if let base = message.baseAddress {
                (buffer + count * size).copyMemory(from: base, byteCount: size)
            }
            try reader.pointee.reader.advance()
            count += 1
            received.pointee = count
            guard count < limit else { break }
            // What was received is given first; an error comes with the next call.
            do throws(IPCError) {
                guard let next = try reader.pointee.reader.tryBorrow() else { break }
                message = next
            } catch { break }
        }
    }
}

@c @implementation
public func ipc_get(
    _ pointer: OpaquePointer?, _ buffer: UnsafeMutableRawPointer?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let reader = try reader(pointer, "ipc_get")
        guard reader.pointee.pattern == .latest else {
            throw .argument("reader", "ipc_get", "it is not of a latest value; use ipc_receive or ipc_take")
        }
        guard buffer != nil || capacity == 0 else { throw .argument("buffer", "ipc_get", "it is NULL") }
        reader.pointee.pending = nil
        guard let value = try reader.pointee.reader.tryReceive() else {
            throw IPCError(.notFound, "get", "channel", advice: "no value was set yet; wait for one by ipc_receive")
        }
        count?.pointee = value.count
        try value.span.withUnsafeBytes { (bytes) throws(IPCError) in
            try copy(bytes, to: buffer, capacity)
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
        let reader = try reader(pointer, "ipc_arm")
        guard let handle = Handle<ReadinessDescriptor>(descriptor, .descriptor) else {
            throw .handle("descriptor", "ipc_arm")
        }
        if reader.pointee.reader.isBorrowing || reader.pointee.pending != nil {
            isReady?.pointee = 1
            return
        }
        let isArmed = try reader.pointee.reader.readiness().arm(handle.value.pointee)
        isReady?.pointee = isArmed ? 0 : 1
    }
}
