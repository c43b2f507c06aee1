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
        while count < 256, count * 2 * size <= 1 << 20 { count *= 2 }
        return count
    }
}

/// One direction of a ring: its slots and its counters.
@safe
struct Ring {
    let mapping: MemoryMapping
    let offset: Int
    let slotCount: UInt64
    let size: Int

    /// The memory of a message.
    @inline(__always)
    func slot(_ number: UInt64) -> UnsafeMutableRawPointer {
        unsafe mapping.pointer(at: offset + RingLayout.slots + Int(number & (slotCount - 1)) * size, byteCount: size)
    }

    @inline(__always)
    func counter(_ field: Int) -> UnsafePointer<Atomic<UInt32>> { unsafe mapping.atomicPointer(UInt32.self, at: offset + field) }
}

/// Shared memory with two semaphores for each direction: free slots and used ones.
struct SemaphoreLink: Link, ~Copyable {
    let outgoing: Ring
    let incoming: Ring
    let outgoingFree: Semaphore
    let outgoingUsed: Semaphore
    let incomingFree: Semaphore
    let incomingUsed: Semaphore
    var progress = LinkProgress()

    init(outgoing: Ring, incoming: Ring) throws(IPCError) {
        let semaphores = try [outgoing, incoming].map { (ring) throws(IPCError) in
            (
                try Semaphore.open(in: ring.mapping, at: ring.offset + RingLayout.freeSlots),
                try Semaphore.open(in: ring.mapping, at: ring.offset + RingLayout.usedSlots)
            )
        }
        self.outgoing = outgoing
        self.incoming = incoming
        (outgoingFree, outgoingUsed) = semaphores[0]
        (incomingFree, incomingUsed) = semaphores[1]
    }

    mutating func send(_ index: UInt64) throws(IPCError) {
        try outgoingFree.wait()
        unsafe cb_fill(outgoing.slot(progress.sent), outgoing.size, index)
        progress.sent += 1
        try outgoingUsed.post()
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        try incomingUsed.wait()
        let index = unsafe cb_check(incoming.slot(progress.received), incoming.size)
        progress.received += 1
        try incomingFree.post()
        return index
    }
}

/// Shared memory with two counters for each direction, waited for by a futex or by polling.
@safe
struct CounterLink: Link, ~Copyable {
    let outgoing: Ring
    let incoming: Ring
    let sleeps: Bool
    var progress = LinkProgress()
    // Looked up once: each is a check of bounds and alignment.
    private let outgoingTail: UnsafePointer<Atomic<UInt32>>
    private let outgoingHead: UnsafePointer<Atomic<UInt32>>
    private let incomingTail: UnsafePointer<Atomic<UInt32>>
    private let incomingHead: UnsafePointer<Atomic<UInt32>>
    private var spins: UInt32 = 0

    init(outgoing: Ring, incoming: Ring, sleeps: Bool) {
        self.outgoing = outgoing
        self.incoming = incoming
        self.sleeps = sleeps
        unsafe outgoingTail = outgoing.counter(RingLayout.tail)
        unsafe outgoingHead = outgoing.counter(RingLayout.head)
        unsafe incomingTail = incoming.counter(RingLayout.tail)
        unsafe incomingHead = incoming.counter(RingLayout.head)
    }

    mutating func send(_ index: UInt64) throws(IPCError) {
        let number = UInt32(truncatingIfNeeded: progress.sent)
        if unsafe outgoingHead.pointee.load(ordering: .acquiring) == number &- UInt32(outgoing.slotCount) {
            try waitForChange(outgoing, RingLayout.head, RingLayout.producerWaits, from: number &- UInt32(outgoing.slotCount))
        }
        unsafe cb_fill(outgoing.slot(progress.sent), outgoing.size, index)
        progress.sent += 1
        try unsafe publish(outgoing, outgoingTail, number &+ 1, RingLayout.tail, RingLayout.consumerWaits)
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        let number = UInt32(truncatingIfNeeded: progress.received)
        if unsafe incomingTail.pointee.load(ordering: .acquiring) == number {
            try waitForChange(incoming, RingLayout.tail, RingLayout.consumerWaits, from: number)
        }
        let index = unsafe cb_check(incoming.slot(progress.received), incoming.size)
        progress.received += 1
        try unsafe publish(incoming, incomingHead, number &+ 1, RingLayout.head, RingLayout.producerWaits)
        return index
    }

    /// Stores a counter and wakes the other side if it sleeps.
    @inline(__always)
    private func publish(
        _ ring: Ring, _ counter: UnsafePointer<Atomic<UInt32>>, _ value: UInt32, _ field: Int, _ waits: Int
    ) throws(IPCError) {
        guard sleeps else {
            // Releasing: the payload before it is seen by who acquires the counter.
            unsafe counter.pointee.store(value, ordering: .releasing)
            return
        }
        // Sequentially consistent, as are the sleeper's flag and second look: one of the two sees the other.
        unsafe counter.pointee.store(value, ordering: .sequentiallyConsistent)
        let flag = unsafe ring.counter(waits)
        if unsafe flag.pointee.load(ordering: .sequentiallyConsistent) != 0 {
            unsafe flag.pointee.store(0, ordering: .relaxed)
            try Futex(in: ring.mapping, at: ring.offset + field).wake()
        }
    }

    private mutating func waitForChange(_ ring: Ring, _ field: Int, _ waits: Int, from seen: UInt32) throws(IPCError) {
        let counter = unsafe ring.counter(field)
        let futex = try Futex(in: ring.mapping, at: ring.offset + field)
        while unsafe counter.pointee.load(ordering: .acquiring) == seen {
            guard sleeps else {
                unsafe cb_relax(&spins)
                continue
            }
            unsafe ring.counter(waits).pointee.store(1, ordering: .sequentiallyConsistent)
            if unsafe counter.pointee.load(ordering: .sequentiallyConsistent) == seen {
                _ = try futex.wait(whileEqual: seen)
            }
        }
    }
}
