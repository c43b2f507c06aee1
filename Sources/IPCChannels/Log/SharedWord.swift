import Synchronization

/// A 64-bit word in shared memory. Each way to use it is spelled out, since an ordering has to be a constant.
///
/// It does not keep its memory mapped: whoever holds one holds the ``ChannelMemory`` too.
@safe @usableFromInline
struct SharedWord: @unchecked Sendable {
    @usableFromInline let pointer: UnsafePointer<Atomic<UInt64>>

    @usableFromInline
    init(_ address: UnsafeMutableRawPointer) {
        unsafe pointer = UnsafeRawPointer(address).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// The word behind it.
    @inlinable @inline(__always)
    var next: SharedWord { unsafe SharedWord(pointer + 1) }

    @inlinable @inline(__always)
    init(_ pointer: UnsafePointer<Atomic<UInt64>>) { unsafe self.pointer = pointer }

    /// For values that only hint, or that no other memory hangs on.
    @inlinable @inline(__always)
    var relaxed: UInt64 {
        get { unsafe pointer.pointee.load(ordering: .relaxed) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .relaxed) }
    }

    /// What was written before the store is seen after the load.
    @inlinable @inline(__always)
    var published: UInt64 {
        get { unsafe pointer.pointee.load(ordering: .acquiring) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .releasing) }
    }

    /// For pairs in which each side stores one word and then looks at the other's: at least one sees the other.
    @inlinable @inline(__always)
    var ordered: UInt64 {
        get { unsafe pointer.pointee.load(ordering: .sequentiallyConsistent) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .sequentiallyConsistent) }
    }

    /// Sees what the last one who moved the word wrote, and lets the next one see what we did. A store as ``ordered``, too.
    @inlinable @inline(__always)
    func exchange(_ expected: UInt64, for desired: UInt64) -> (exchanged: Bool, original: UInt64) {
        unsafe pointer.pointee.compareExchange(
            expected: expected, desired: desired, successOrdering: .sequentiallyConsistent, failureOrdering: .acquiring)
    }

    /// Makes it at least `value`.
    func raise(to value: UInt64) { unsafe pointer.pointee.max(value, ordering: .sequentiallyConsistent) }

    /// - Returns: What it is then.
    @discardableResult
    func add(_ count: UInt64) -> UInt64 {
        unsafe pointer.pointee.wrappingAdd(count, ordering: .sequentiallyConsistent).newValue
    }
    func exchange(_ value: UInt64) -> UInt64 {
        unsafe pointer.pointee.exchange(value, ordering: .sequentiallyConsistent)
    }
}
