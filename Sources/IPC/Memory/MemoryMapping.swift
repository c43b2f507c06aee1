import CIPCShims
import Glibc
import Synchronization
import SystemPackage

/// What a mapping may be used for.
public enum MemoryAccess: Hashable, Sendable {
    case readOnly
    case readWrite
}

/// Memory that is mapped into this process, from a shared memory object or from a file.
///
/// It outlives the object's descriptor and name, and is unmapped when the last reference goes. It is a class because
/// what lies in it (a ``SharedMutex``, a ``SharedSemaphore``) has to keep it mapped. It is `Sendable` because its own fields
/// never change; what the bytes mean is for their users to synchronise, between threads as between processes.
///
/// Other processes change this memory at any time. Load a value once and check the copy; synchronise with what
/// `Synchronization/` offers, or with ``withAtomic(_:at:_:)``.
@safe
public final class MemoryMapping: @unchecked Sendable {
    /// The address of the first byte. It is another one in every process: never store it in the memory.
    @usableFromInline let base: UnsafeMutableRawPointer
    /// How many bytes are mapped.
    public let byteCount: Int
    /// Whether it may be written to.
    public let access: MemoryAccess
    /// The name of the object, for messages.
    public let name: String
    private let pageBase: UnsafeMutableRawPointer
    private let pageByteCount: Int

    /// Maps `byteCount` bytes from `offset`, which need not lie on a page.
    package init(
        _ descriptor: CInt, _ name: String, offset: Int, byteCount: Int, access: MemoryAccess, isShared: Bool,
        prefaulting: Bool
    ) throws(IPCError) {
        guard byteCount > 0, offset >= 0 else {
            throw IPCError(
                .invalidArgument, "mmap", name, advice: "a mapping needs at least 1 byte, and an offset of at least 0")
        }
        // An object may be as long as a number can say; rounded up to pages, it would be longer.
        guard byteCount <= Self.longest else {
            throw IPCError(
                .invalidArgument, "mmap", name,
                advice: "\(byteCount) bytes were requested, but a mapping has at most \(Self.longest); map a part")
        }
        let start = Page.roundedDown(offset)
        let length = Page.roundedUp(offset - start + byteCount)
        let protection = access == .readOnly ? PROT_READ : PROT_READ | PROT_WRITE
        let flags = (isShared ? MAP_SHARED : MAP_PRIVATE) | (prefaulting ? MAP_POPULATE : 0)
        let address = unsafe mmap(nil, length, protection, flags, descriptor, off_t(start))
        guard let address = unsafe address, unsafe address != ipc_map_failed() else {
            throw IPCError("mmap", name, Errno(rawValue: errno))
        }
        unsafe self.pageBase = address
        self.pageByteCount = length
        unsafe self.base = address + (offset - start)
        self.byteCount = byteCount
        self.access = access
        self.name = name
    }

    deinit { unsafe munmap(pageBase, pageByteCount) }

    private static var longest: Int { .max - 2 * Page.size }
}

extension MemoryMapping {
    /// Lends the bytes for reading.
    public func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // The mapping lives at least as long as this call.
        try unsafe body(RawSpan(_unsafeStart: base, byteCount: byteCount))
    }

    /// Lends the bytes for reading and writing.
    ///
    /// - Precondition: The mapping is ``MemoryAccess/readWrite``.
    public func withMutableBytes<Result: ~Copyable, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(access == .readWrite, "this mapping is read-only")
        var span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
        return try body(&span)
    }

    /// Copies a value out of the memory.
    ///
    /// The value is plain bytes: if it holds a pointer, that means nothing in this process.
    /// - Precondition: The value lies inside the mapping.
    @inlinable
    public func load<Value: BitwiseCopyable>(_ type: Value.Type = Value.self, at offset: Int) -> Value {
        check(offset, MemoryLayout<Value>.size)
        return unsafe (base + offset).loadUnaligned(as: Value.self)
    }

    /// Copies a value into the memory.
    ///
    /// - Precondition: The value lies inside the mapping, which is ``MemoryAccess/readWrite``.
    @inlinable
    public func store<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
        precondition(access == .readWrite, "this mapping is read-only")
        check(offset, MemoryLayout<Value>.size)
        unsafe (base + offset).storeBytes(of: value, as: Value.self)
    }

    /// Lends an atomic that lies in the memory, for any process that maps it.
    ///
    /// ```swift
    /// let hits = mapping.withAtomic(UInt64.self, at: 0) { $0.add(1, ordering: .relaxed).newValue }
    /// ```
    ///
    /// Zeroed memory is an atomic of value zero. In a read-only mapping, only loads are possible: others end the
    /// process, as the processor does not let them through.
    /// - Precondition: The atomic lies inside the mapping, at a multiple of its size.
    @inlinable
    public func withAtomic<Value: AtomicRepresentable, Result: ~Copyable, Failure: Error>(
        _ type: Value.Type = Value.self, at offset: Int,
        _ body: (borrowing Atomic<Value>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(atomicPointer(Value.self, at: offset).pointee)
    }

    @inlinable
    package func atomicPointer<Value: AtomicRepresentable>(_ type: Value.Type, at offset: Int) -> UnsafePointer<
        Atomic<Value>
    > {
        check(offset, MemoryLayout<Atomic<Value>>.size)
        let address = unsafe UnsafeRawPointer(base + offset)
        precondition(
            UInt(bitPattern: address) % UInt(MemoryLayout<Atomic<Value>>.alignment) == 0, "an atomic must be aligned")
        return unsafe address.assumingMemoryBound(to: Atomic<Value>.self)
    }

    /// Whether `offset` lies on a multiple of `alignment`: a mapping of part of a file may begin anywhere.
    package func isAligned(_ offset: Int, to alignment: Int) -> Bool {
        unsafe (UInt(bitPattern: base) &+ UInt(bitPattern: offset)) % UInt(alignment) == 0
    }

    /// The address of `byteCount` bytes at `offset`, for our own types that live in the memory.
    package func pointer(at offset: Int, byteCount: Int) -> UnsafeMutableRawPointer {
        check(offset, byteCount)
        return unsafe base + offset
    }

    @usableFromInline func check(_ offset: Int, _ size: Int) {
        precondition(
            offset >= 0 && size <= byteCount && offset <= byteCount - size, "the range is outside of the mapping")
    }
}

/// When ``MemoryMapping/sync(_:_:)`` returns.
public enum SyncMode: Hashable, Sendable {
    /// When the bytes are on the disk.
    case synchronous
    /// At once: the kernel starts to write.
    case asynchronous
}

/// How the memory is going to be used, for the kernel's read-ahead and page sizes.
public enum MemoryAdvice: Hashable, Sendable, CaseIterable {
    case normal, sequential, random, willNeed, dontNeed, hugePages

    fileprivate var rawValue: CInt {
        switch self {
        case .normal: MADV_NORMAL
        case .sequential: MADV_SEQUENTIAL
        case .random: MADV_RANDOM
        case .willNeed: MADV_WILLNEED
        case .dontNeed: MADV_DONTNEED
        case .hugePages: MADV_HUGEPAGE
        }
    }
}

extension MemoryMapping {
    /// Writes changed bytes to the file. Nothing is durable before. The C function is `msync`.
    ///
    /// - Parameters:
    ///   - range: Which bytes, widened to pages; nil for all.
    ///   - mode: Whether to wait for the disk.
    /// - Throws: ``IPCError/Code/invalidArgument`` if the range is not inside the mapping.
    public func sync(_ range: Range<Int>? = nil, _ mode: SyncMode = .synchronous) throws(IPCError) {
        let (address, length) = try unsafe pages(range, "msync")
        let flags = mode == .synchronous ? MS_SYNC : MS_ASYNC
        _ = try retryingInterrupts { unsafe msync(address, length, CInt(flags)) }.orThrow("msync", name)
    }

    /// Tells the kernel how the memory is going to be used. The C function is `madvise`.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` if the range is not inside the mapping, and where the kernel or the file
    ///   system has no huge pages.
    public func advise(_ advice: MemoryAdvice, _ range: Range<Int>? = nil) throws(IPCError) {
        let (address, length) = try unsafe pages(range, "madvise")
        _ = try retryingInterrupts { unsafe madvise(address, length, advice.rawValue) }.orThrow("madvise", name) {
            errno in
            advice == .hugePages && errno == .invalidArgument
                ? "this kernel or file system has no transparent huge pages; continue without them" : nil
        }
    }

    private func pages(_ range: Range<Int>?, _ operation: String) throws(IPCError) -> (UnsafeMutableRawPointer, Int) {
        guard let range else { return unsafe (pageBase, pageByteCount) }
        guard range.lowerBound >= 0, range.upperBound <= byteCount else {
            throw IPCError(
                .invalidArgument, operation, name,
                advice: "bytes \(range) were requested, but the mapping has \(byteCount); choose a range inside of it")
        }
        let lead = unsafe base - pageBase
        let start = Page.roundedDown(lead + range.lowerBound)
        return unsafe (pageBase + start, lead + range.upperBound - start)
    }
}
