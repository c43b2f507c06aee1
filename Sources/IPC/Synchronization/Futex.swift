import CIPCShims
import Glibc
import Synchronization
import SystemPackage

/// A 32-bit word in shared memory on which processes can sleep until another wakes them: what locks are made of.
///
/// The waiter says which value it saw; the kernel puts it to sleep only if the word still has it, so that no wake-up
/// between look and sleep is lost. A wait may return early: look at the word again, in a loop.
///
/// ```swift
/// let ready = try Futex(in: mapping, at: 0)
/// while ready.withValue({ $0.load(ordering: .acquiring) }) == 0 { _ = try ready.wait(whileEqual: 0) }
/// // and in the other process:
/// ready.withValue { $0.store(1, ordering: .releasing) }
/// ready.wake()
/// ```
///
/// Safe from any thread and process. The system call is `futex` with `FUTEX_WAIT_BITSET`.
@safe
public struct Futex: @unchecked Sendable {
    private let mapping: MemoryMapping
    @usableFromInline let word: UnsafePointer<Atomic<UInt32>>

    /// The word at `offset`, whatever it holds.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` unless the offset is a multiple of 4 inside the mapping, and the mapping
    ///   begins at one.
    public init(in mapping: MemoryMapping, at offset: Int) throws(IPCError) {
        guard offset >= 0, offset <= mapping.byteCount - 4, mapping.isAligned(offset, to: 4) else {
            throw IPCError(
                .invalidArgument, "futex", "\(mapping.name)+\(offset)",
                advice:
                    "a futex needs 4 bytes, aligned to 4, inside the mapping of \(mapping.byteCount) bytes; choose another offset"
            )
        }
        self.mapping = mapping
        unsafe self.word = mapping.atomicPointer(UInt32.self, at: offset)
    }

    var name: String { mapping.name }

    /// Lends the word itself.
    @inlinable
    public func withValue<Result: ~Copyable, Failure: Error>(
        _ body: (borrowing Atomic<UInt32>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // The memory stays mapped meanwhile, even if nobody else needs us any more.
        defer { withExtendedLifetime(self) {} }
        return try unsafe body(word.pointee)
    }

    /// Sleeps while the word has the value `expected`.
    ///
    /// - Returns: False if the deadline passed; true otherwise, also when the word had another value from the start,
    ///   and sometimes for no reason.
    public func wait(whileEqual expected: UInt32, until deadline: Deadline = .never) throws(IPCError) -> Bool {
        try unsafe FutexCalls.wait(UnsafeRawPointer(word), whileEqual: expected, until: deadline, mapping.name)
    }

    /// Wakes up to `count` waiters, in any process. Costs a system call even if nobody waits.
    ///
    /// - Returns: How many were woken.
    @discardableResult
    public func wake(count: Int = 1) -> Int { unsafe FutexCalls.wake(UnsafeRawPointer(word), count: count) }
}
