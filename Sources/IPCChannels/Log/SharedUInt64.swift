import Synchronization

/// A 64-bit word in shared memory. Each use has its own member, because an ordering must be a constant.
///
/// It does not keep its memory mapped: its holder also holds the ``ChannelMemory``.
@safe @usableFromInline
struct SharedUInt64: @unchecked Sendable {
    @usableFromInline let pointer: UnsafePointer<Atomic<UInt64>>

    @usableFromInline
    init(_ address: UnsafeMutableRawPointer) {
        unsafe pointer = UnsafeRawPointer(address).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// The word after it.
    @inlinable @inline(__always)
    var next: SharedUInt64 { unsafe SharedUInt64(pointer + 1) }

    @inlinable @inline(__always)
    init(_ pointer: UnsafePointer<Atomic<UInt64>>) { unsafe self.pointer = pointer }

    /// For hints, and for values that no other memory depends on.
    @inlinable @inline(__always)
    var relaxed: UInt64 {
        get { unsafe pointer.pointee.load(ordering: .relaxed) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .relaxed) }
    }

    /// Acquiring load and releasing store: what was written before the store is visible after the load.
    @inlinable @inline(__always)
    var published: UInt64 {
        get { unsafe pointer.pointee.load(ordering: .acquiring) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .releasing) }
    }

    /// For store-then-load pairs: each side stores one word and then loads the other's, and at least one side sees the other's
    /// store.
    @inlinable @inline(__always)
    var ordered: UInt64 {
        get { unsafe pointer.pointee.load(ordering: .sequentiallyConsistent) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .sequentiallyConsistent) }
    }

    /// Compare-and-exchange: sees what the previous process that changed the word wrote before, and publishes this one's writes to
    /// the next. On success it is a store like that of ``ordered``.
    @inlinable @inline(__always)
    func exchange(_ expected: UInt64, for desired: UInt64) -> (exchanged: Bool, original: UInt64) {
        unsafe pointer.pointee.compareExchange(
            expected: expected, desired: desired, successOrdering: .sequentiallyConsistent, failureOrdering: .acquiring)
    }

    /// Raises it to at least `value`.
    func raise(to value: UInt64) { unsafe pointer.pointee.max(value, ordering: .sequentiallyConsistent) }

    /// - Returns: The new value.
    @discardableResult
    func add(_ count: UInt64) -> UInt64 {
        unsafe pointer.pointee.wrappingAdd(count, ordering: .sequentiallyConsistent).newValue
    }
    func exchange(_ value: UInt64) -> UInt64 {
        unsafe pointer.pointee.exchange(value, ordering: .sequentiallyConsistent)
    }
}

/// A 32-bit word in shared memory.
@safe
struct SharedUInt32 {
    private let pointer: UnsafePointer<Atomic<UInt32>>

    init(_ memory: ChannelMemory, _ offset: Int) { unsafe pointer = memory.half(offset) }
    init(_ pointer: UnsafePointer<Atomic<UInt32>>) { unsafe self.pointer = pointer }

    /// For values that another word or the membership lock orders.
    var relaxed: UInt32 {
        get { unsafe pointer.pointee.load(ordering: .relaxed) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .relaxed) }
    }

    var acquired: UInt32 { unsafe pointer.pointee.load(ordering: .acquiring) }

    /// For store-then-load pairs, as ``SharedUInt64/ordered``.
    var ordered: UInt32 {
        get { unsafe pointer.pointee.load(ordering: .sequentiallyConsistent) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .sequentiallyConsistent) }
    }

    func add(_ count: UInt32) { unsafe pointer.pointee.wrappingAdd(count, ordering: .sequentiallyConsistent) }

    /// Raises it to at least `value`.
    func raise(to value: UInt32) { unsafe pointer.pointee.max(value, ordering: .sequentiallyConsistent) }
}
