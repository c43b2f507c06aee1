import Synchronization

/// What a reader needs where messages may be overwritten under it: a copy of each, and the numbers that tell of a gap.
@safe @usableFromInline
final class OverrunGuard {
    private let memory: ChannelMemory
    /// For each writer's slot, the number of the message that comes next; nil before the first.
    private var expected: [UInt64?]
    @usableFromInline var missed: UInt64 = 0
    /// The last payload that was taken.
    @usableFromInline private(set) var copy: UnsafeMutableRawPointer
    private var capacity = 256

    init(_ memory: ChannelMemory) {
        self.memory = memory
        expected = (0..<memory.writerSlots).map { memory.writer($0, LogLayout.WriterSlot.sequence).published }
        if !memory.hasSharedWriters { expected[0] = nil }
        unsafe copy = .allocate(byteCount: capacity, alignment: LogLayout.Frame.alignment)
    }

    deinit { unsafe copy.deallocate() }

    /// Counts what is missing before this frame.
    @usableFromInline
    func see(_ header: FrameHeader) {
        let writer = Int(header.writer)
        guard writer < expected.count else { return }
        if let next = expected[writer], header.sequence > next { missed &+= header.sequence - next }
        expected[writer] = header.sequence &+ 1
    }

    /// Copies a payload; false if it was overwritten meanwhile.
    @usableFromInline
    func take(_ payload: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64) -> Bool {
        let count = Int(header.length)
        if capacity < count {
            unsafe copy.deallocate()
            capacity = count * 2
            unsafe copy = .allocate(byteCount: capacity, alignment: LogLayout.Frame.alignment)
        }
        unsafe copy.copyMemory(from: payload, byteCount: count)
        // Acquiring, and pairs with the writer's fence: if we copied new bytes, we see the frontier that covers them.
        atomicMemoryFence(ordering: .acquiring)
        guard position >= memory.oldestSafe else { return false }
        see(header)
        return true
    }
}
