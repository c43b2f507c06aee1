import IPC
import SystemPackage

/// Which code does the sending and receiving.
public enum Implementation: String, Sendable, CaseIterable, BitwiseCopyable {
    case swift
    case c
    /// The asynchronous calls of Swift, on an event loop.
    case async = "swift-async"
}

/// What the coordinator tells a worker: a fixed record, in one packet.
struct WorkerCommand: BitwiseCopyable {
    enum Action: UInt8, BitwiseCopyable {
        case attach, ping, echo, produce, consume, producePaced, consumePaced, lineChoice, linePing, lineEcho
    }
    var action: Action
    var mechanism: UInt8 = 0
    var implementation = Implementation.swift
    var size: UInt64 = 0
    var count: UInt64 = 0
    var start: UInt64 = 0
    var interval: UInt64 = 0
    /// Of the cache line, for `linePing`.
    var loop: LineLoop?
}

/// What a worker answers. A failure's text follows in the same packet.
struct WorkerReply: BitwiseCopyable {
    enum Outcome: UInt8, BitwiseCopyable {
        case ready, done, failed
    }
    var outcome: Outcome
    var isTooLarge = false
    /// Nanoseconds between the first and the last message.
    var elapsed: UInt64 = 0
    /// Messages that came.
    var received: UInt64 = 0
    /// Nanoseconds of processor time that this worker used.
    var processorTime: UInt64 = 0
    /// The fastest loop, for `lineChoice`.
    var loop: LineLoop?
}

extension PacketSocket {
    borrowing func send<Record: BitwiseCopyable>(
        _ record: Record, text: String = "", descriptors: [FileDescriptor] = []
    )
        throws(IPCError)
    {
        var packet: [UInt8] = unsafe withUnsafeBytes(of: record) { unsafe Array($0) }
        packet.append(contentsOf: text.utf8)
        try unsafe send(packet.span.bytes, descriptors: descriptors, until: .after(.seconds(10)))
    }
}

/// A packet taken apart again; nil when the other side has gone.
struct WorkerPacket<Record: BitwiseCopyable> {
    let record: Record
    let text: String

    init?(_ bytes: [UInt8], count: Int) {
        let size = MemoryLayout<Record>.size
        guard count >= size else { return nil }
        record = unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: Record.self) }
        text = String(decoding: bytes[size..<count], as: UTF8.self)
    }
}
