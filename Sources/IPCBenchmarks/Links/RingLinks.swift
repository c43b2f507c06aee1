import CBaselines
import IPC
import Synchronization

/// Where things are in a `cb_ring`, as the C structure lays them out.
enum RingLayout {
    static let tail = 0
    static let consumerWaits = 64
    static let head = 128
    static let producerWaits = 192
    static let freeSlots = 256
    static let usedSlots = 320
    static let slots = 384

    static func byteCount(slotCount: Int, size: Int) -> Int { slots + slotCount * size }

    /// Enough slots that neither side often waits, in memory that fits the caches where the messages do.
    static func slotCount(size: Int) -> Int {
        var count = 2
        while count < 512, count * 2 * size <= 1 << 20 { count *= 2 }
        return count
    }
}

/// One direction of a ring: its slots and its counters.
@safe
struct Ring {
    /// Keeps the memory mapped.
    let mapping: MemoryMapping
    let offset: Int
    let slotCount: UInt64
    let size: Int
    private let slots: UnsafeMutableRawPointer

    init(mapping: MemoryMapping, offset: Int, slotCount: UInt64, size: Int) {
        self.mapping = mapping
        self.offset = offset
        self.slotCount = slotCount
        self.size = size
        // Checked once, here: a slot's number is masked, so it cannot lead outside.
        unsafe slots = mapping.pointer(at: offset + RingLayout.slots, byteCount: Int(slotCount) * size)
    }

    /// The memory of a message.
    @inline(__always)
    func slot(_ number: UInt64) -> UnsafeMutableRawPointer {
        unsafe slots + Int(truncatingIfNeeded: number & (slotCount &- 1)) &* size
    }
}

/// Shared memory with two semaphores for each direction: free slots and used ones.
struct SemaphoreLink: Link, ~Copyable {
    let outgoing: Ring
    let incoming: Ring
    let outgoingFree: SharedSemaphore
    let outgoingUsed: SharedSemaphore
    let incomingFree: SharedSemaphore
    let incomingUsed: SharedSemaphore
    var progress = LinkProgress()

    init(outgoing: Ring, incoming: Ring) throws(IPCError) {
        let semaphores = try [outgoing, incoming].map { (ring) throws(IPCError) in
            (
                try SharedSemaphore.open(in: ring.mapping, at: ring.offset + RingLayout.freeSlots),
                try SharedSemaphore.open(in: ring.mapping, at: ring.offset + RingLayout.usedSlots)
            )
        }
        self.outgoing = outgoing
        self.incoming = incoming
        (outgoingFree, outgoingUsed) = semaphores[0]
        (incomingFree, incomingUsed) = semaphores[1]
    }

    @inline(__always)
    mutating func send(_ index: UInt64) throws(IPCError) {
        try outgoingFree.wait()
        unsafe cb_fill(outgoing.slot(progress.sent), outgoing.size, index)
        progress.sent += 1
        try outgoingUsed.post()
    }

    @inline(__always)
    mutating func receive() throws(IPCError) -> UInt64? {
        try incomingUsed.wait()
        let index = unsafe cb_check(incoming.slot(progress.received), incoming.size)
        progress.received += 1
        try incomingFree.post()
        return index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try await outgoingFree.wait()
        unsafe cb_fill(outgoing.slot(progress.sent), outgoing.size, index)
        progress.sent += 1
        try outgoingUsed.post()
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        try await incomingUsed.wait()
        let index = unsafe cb_check(incoming.slot(progress.received), incoming.size)
        progress.received += 1
        try incomingFree.post()
        return index
    }
}

/// One side's counter of a ring, with the flag that says whether the other side sleeps on it.
@safe
struct RingCounter {
    private let value: UnsafePointer<Atomic<UInt32>>
    private let waits: UnsafePointer<Atomic<UInt32>>
    private let futex: Futex

    init(_ ring: Ring, value: Int, waits: Int) throws(IPCError) {
        unsafe self.value = ring.mapping.atomicPointer(UInt32.self, at: ring.offset + value)
        unsafe self.waits = ring.mapping.atomicPointer(UInt32.self, at: ring.offset + waits)
        self.futex = try Futex(in: ring.mapping, at: ring.offset + value)
    }

    /// Stores a value, and wakes the other side if it may sleep and does.
    @inline(__always)
    func publish(_ number: UInt32, wakes: Bool) {
        guard wakes else {
            // Releasing: the payload before it is seen by who acquires the counter.
            unsafe value.pointee.store(number, ordering: .releasing)
            return
        }
        // Sequentially consistent, as are the sleeper's flag and second look: one of the two sees the other.
        unsafe value.pointee.store(number, ordering: .sequentiallyConsistent)
        if unsafe waits.pointee.load(ordering: .sequentiallyConsistent) != 0 { futex.wake() }
    }

    /// Waits until the value is no longer `seen`; returns it.
    @inline(__always)
    func wait(whileEqual seen: UInt32, sleeps: Bool) throws(IPCError) -> UInt32 {
        let now = unsafe value.pointee.load(ordering: .acquiring)
        if now != seen { return now }
        return sleeps ? try sleep(whileEqual: seen) : poll(whileEqual: seen)
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) func wait(whileEqual seen: UInt32) async throws(IPCError) -> UInt32 {
        while true {
            let now = unsafe value.pointee.load(ordering: .acquiring)
            if now != seen { return now }
            unsafe waits.pointee.store(1, ordering: .sequentiallyConsistent)
            if unsafe value.pointee.load(ordering: .sequentiallyConsistent) == seen {
                _ = try await futex.wait(whileEqual: seen)
            }
            unsafe waits.pointee.store(0, ordering: .relaxed)
        }
    }

    @inline(__always)
    private func poll(whileEqual seen: UInt32) -> UInt32 {
        var spins: UInt32 = 0
        while true {
            let now = unsafe value.pointee.load(ordering: .acquiring)
            if now != seen { return now }
            unsafe cb_relax(&spins)
        }
    }

    @inline(never)
    private func sleep(whileEqual seen: UInt32) throws(IPCError) -> UInt32 {
        while true {
            let now = unsafe value.pointee.load(ordering: .acquiring)
            if now != seen { return now }
            // Only the sleeper writes its flag: a waker that took it down late would hide the next sleep.
            unsafe waits.pointee.store(1, ordering: .sequentiallyConsistent)
            if unsafe value.pointee.load(ordering: .sequentiallyConsistent) == seen {
                _ = try futex.wait(whileEqual: seen)
            }
            unsafe waits.pointee.store(0, ordering: .relaxed)
        }
    }
}

/// How the counters of a ring are waited for: known to the compiler, as it is in C.
protocol RingWaiting { static var sleeps: Bool { get } }
enum RingSleeping: RingWaiting { static var sleeps: Bool { true } }
enum RingPolling: RingWaiting { static var sleeps: Bool { false } }

/// Shared memory with two counters for each direction, waited for by a futex or by polling.
///
/// The other side's counter is looked at only when, as of the last look, there is nothing more to do: each look may cost
/// the line that it is in.
struct CounterLink<Waiting: RingWaiting>: Link, ~Copyable {
    private let outgoing: Ring
    private let incoming: Ring
    private let outgoingTail: RingCounter
    private let outgoingHead: RingCounter
    private let incomingTail: RingCounter
    private let incomingHead: RingCounter
    var progress = LinkProgress()

    init(outgoing: Ring, incoming: Ring) throws(IPCError) {
        let counters = try [outgoing, incoming].map { (ring) throws(IPCError) in
            (
                tail: try RingCounter(ring, value: RingLayout.tail, waits: RingLayout.consumerWaits),
                head: try RingCounter(ring, value: RingLayout.head, waits: RingLayout.producerWaits)
            )
        }
        self.outgoing = outgoing
        self.incoming = incoming
        (outgoingTail, outgoingHead) = counters[0]
        (incomingTail, incomingHead) = counters[1]
    }

    /// A producer that waits for room is woken for half of it: else the two would wake each other for each message.
    private func isHalf(_ number: UInt32) -> Bool { number % UInt32(truncatingIfNeeded: incoming.slotCount / 2) == 0 }

    private func isFull(_ number: UInt32) -> Bool {
        number &- progress.seenHead == UInt32(truncatingIfNeeded: outgoing.slotCount)
    }

    @inline(__always)
    mutating func send(_ index: UInt64) throws(IPCError) {
        let number = UInt32(truncatingIfNeeded: progress.sent)
        if isFull(number) {
            progress.seenHead = try outgoingHead.wait(whileEqual: progress.seenHead, sleeps: Waiting.sleeps)
        }
        unsafe cb_fill(outgoing.slot(progress.sent), outgoing.size, index)
        progress.sent &+= 1
        outgoingTail.publish(number &+ 1, wakes: Waiting.sleeps)
    }

    @inline(__always)
    mutating func receive() throws(IPCError) -> UInt64? {
        let number = UInt32(truncatingIfNeeded: progress.received)
        if number == progress.seenTail {
            progress.seenTail = try incomingTail.wait(whileEqual: number, sleeps: Waiting.sleeps)
        }
        let index = unsafe cb_check(incoming.slot(progress.received), incoming.size)
        progress.received &+= 1
        incomingHead.publish(number &+ 1, wakes: Waiting.sleeps && isHalf(number &+ 1))
        return index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        let number = UInt32(truncatingIfNeeded: progress.sent)
        if isFull(number) {
            progress.seenHead = try await outgoingHead.wait(whileEqual: progress.seenHead)
        }
        unsafe cb_fill(outgoing.slot(progress.sent), outgoing.size, index)
        progress.sent &+= 1
        outgoingTail.publish(number &+ 1, wakes: Waiting.sleeps)
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        let number = UInt32(truncatingIfNeeded: progress.received)
        if number == progress.seenTail { progress.seenTail = try await incomingTail.wait(whileEqual: number) }
        let index = unsafe cb_check(incoming.slot(progress.received), incoming.size)
        progress.received &+= 1
        incomingHead.publish(number &+ 1, wakes: Waiting.sleeps && isHalf(number &+ 1))
        return index
    }
}
