import Glibc
import IPC

/// Real-time signals, which queue and carry a word: the index.
struct SignalLink: Link, ~Copyable {
    static let signal = Signal.realTime(4)

    let peer: ProcessHandle
    let signals: SignalSource
    var progress = LinkProgress()

    @inline(__always)
    mutating func send(_ index: UInt64) throws(IPCError) {
        while try !peer.tryQueue(Self.signal, value: Int(bitPattern: UInt(index))) {
            sched_yield()  // the receiver's queue of signals is full
        }
    }

    @inline(__always)
    mutating func receive() throws(IPCError) -> UInt64? { UInt64(UInt(bitPattern: try signals.next().value)) }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        while try !peer.tryQueue(Self.signal, value: Int(bitPattern: UInt(index))) { await Task.yield() }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        UInt64(UInt(bitPattern: try await signals.next().value))
    }
}

/// Counters that give one notice at a time; they carry no index, so the receiver counts.
struct EventLink: Link, ~Copyable {
    let incoming: EventCounter
    let outgoing: EventCounter
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) { try outgoing.add() }

    mutating func receive() throws(IPCError) -> UInt64? {
        _ = try incoming.take()
        defer { progress.received += 1 }
        return progress.received
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) { try outgoing.add() }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        _ = try await incoming.take()
        defer { progress.received += 1 }
        return progress.received
    }
}
