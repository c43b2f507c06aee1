import Glibc
import IPC
import SystemPackage

/// Pipes and FIFOs: a byte stream each way.
struct PipeLink: Link, ~Copyable {
    let reader: PipeReader
    let writer: PipeWriter
    let buffer: MessageBuffer
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) {
        try buffer.filled(index) { (bytes) throws(IPCError) in try writer.write(bytes) }
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        try buffer.receiving { (bytes) throws(IPCError) in try reader.readExactly(into: &bytes) }
        return buffer.index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try await buffer.filled(index) { (bytes) async throws(IPCError) in try await writer.write(bytes) }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        try await buffer.receiving { (bytes) async throws(IPCError) in try await reader.readExactly(into: &bytes) }
        return buffer.index
    }
}

/// Unix and TCP streams.
struct StreamLink: Link, ~Copyable {
    let socket: StreamSocket
    let buffer: MessageBuffer
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) {
        try buffer.filled(index) { (bytes) throws(IPCError) in try socket.write(bytes) }
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        try buffer.receiving { (bytes) throws(IPCError) in try socket.readExactly(into: &bytes) }
        return buffer.index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try await buffer.filled(index) { (bytes) async throws(IPCError) in try await socket.write(bytes) }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        try await buffer.receiving { (bytes) async throws(IPCError) in try await socket.readExactly(into: &bytes) }
        return buffer.index
    }
}

/// Unix and UDP datagrams.
struct DatagramLink: Link, ~Copyable {
    let socket: DatagramSocket
    let buffer: MessageBuffer
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) {
        try buffer.filled(index) { (bytes) throws(IPCError) in try socket.send(bytes) }
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        let count = try buffer.receiving { (bytes) throws(IPCError) in try socket.receiveBytes(into: &bytes) }
        return count == buffer.byteCount ? buffer.index : nil
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try await buffer.filled(index) { (bytes) async throws(IPCError) in try await socket.send(bytes) }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        let count = try await buffer.receiving { (bytes) async throws(IPCError) in
            try await socket.receiveBytes(into: &bytes)
        }
        return count == buffer.byteCount ? buffer.index : nil
    }

    mutating func endStream() throws(IPCError) {
        let mark: [UInt8] = [0]
        for _ in 0..<20 {
            _ = try unsafe socket.trySend(mark.span.bytes)
            usleep(1000)
        }
    }

    mutating func prepare(forStream: Bool) throws(IPCError) {
        while try buffer.receiving({ (bytes) throws(IPCError) in try socket.tryReceiveBytes(into: &bytes) }) != nil {}
    }
}

/// Unix sequenced packets.
struct PacketLink: Link, ~Copyable {
    let socket: PacketSocket
    let buffer: MessageBuffer
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) {
        try buffer.filled(index) { (bytes) throws(IPCError) in try socket.send(bytes) }
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        let count = try buffer.receiving { (bytes) throws(IPCError) in try socket.receive(into: &bytes) }
        guard count > 0 else {
            throw IPCError(.endOfFile, "receive", "packet socket", advice: "the other worker has ended")
        }
        return buffer.index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try await buffer.filled(index) { (bytes) async throws(IPCError) in try await socket.send(bytes) }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        _ = try await buffer.receiving { (bytes) async throws(IPCError) in try await socket.receive(into: &bytes) }
        return buffer.index
    }
}

/// POSIX message queues, one each way.
struct QueueLink: Link, ~Copyable {
    let incoming: MessageQueue
    let outgoing: MessageQueue
    let buffer: MessageBuffer
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) {
        try buffer.filled(index) { (bytes) throws(IPCError) in try outgoing.send(bytes) }
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        _ = try buffer.receiving { (bytes) throws(IPCError) in try incoming.receive(into: &bytes) }
        return buffer.index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try await buffer.filled(index) { (bytes) async throws(IPCError) in try await outgoing.send(bytes) }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        _ = try await buffer.receiving { (bytes) async throws(IPCError) in try await incoming.receive(into: &bytes) }
        return buffer.index
    }
}
