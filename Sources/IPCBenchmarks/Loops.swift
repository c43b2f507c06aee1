import CBaselines
import IPC

/// The loops in Swift: the twins of those in `CBaselines/loops.c`, specialised for each link.
enum Loops {
    static let corrupted = IPCError(
        .corrupted, "bench", "payload", advice: "a received message differs from the one sent; please report this")

    @inline(__always)
    static func checked(_ index: UInt64?) throws(IPCError) -> UInt64 {
        guard let index, index != .max else { throw corrupted }
        return index
    }

    static func ping<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, _ samples: UnsafeMutablePointer<UInt64>
    ) throws(IPCError) {
        for i in 0..<count {
            let start = cb_now()
            try link.send(i)
            _ = try checked(link.receive())
            unsafe samples[Int(i)] = cb_now() - start
        }
    }

    static func echo<L: Link & ~Copyable>(_ link: inout L, _ count: UInt64) throws(IPCError) {
        for i in 0..<count {
            _ = try checked(link.receive())
            try link.send(i)
        }
    }

    static func produce<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, start: UInt64 = 0, interval: UInt64 = 0
    ) throws(IPCError) {
        for i in 0..<count {
            if interval > 0 { cb_wait_until(start + i * interval) }
            try link.send(i)
        }
    }

    static func consume<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, isLossy: Bool
    ) throws(IPCError) -> (elapsed: UInt64, received: UInt64) {
        var first: UInt64 = 0
        var last: UInt64 = 0
        var received: UInt64 = 0
        for i in 0..<count {
            let index = try link.receive()
            if index == nil, isLossy { break }
            _ = try checked(index)
            if i == 0 { first = cb_now() }
            if isLossy { last = cb_now() }
            received += 1
        }
        if !isLossy { last = cb_now() }
        return (last - first, received)
    }

    /// - Parameter base: What the link's own count of messages starts at, if that is what its indices are.
    static func consumePaced<L: Link & ~Copyable>(
        _ link: inout L, _ count: UInt64, isLossy: Bool, start: UInt64, interval: UInt64, base: UInt64,
        _ samples: UnsafeMutablePointer<UInt64>
    ) throws(IPCError) -> UInt64 {
        var received: UInt64 = 0
        for i in 0..<count {
            let index = try link.receive()
            if index == nil, isLossy { break }
            let intended = start + (try checked(index) - base) * interval
            unsafe samples[Int(i)] = cb_now() - intended
            received += 1
        }
        return received
    }
}
