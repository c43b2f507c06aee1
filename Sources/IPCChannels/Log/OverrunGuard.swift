import IPC
import Synchronization

/// What a reader needs where messages may be overwritten under it: a copy of each, and the numbers that tell of a gap.
/// Elsewhere it does nothing.
@safe @usableFromInline
struct OverrunGuard: ~Copyable {
    private let memory: ChannelMemory
    /// For each writer's slot, the number of the message that comes next; nil before the first.
    private var expected: [UInt64?]
    var missed: UInt64 = 0
    /// The last payload that was taken; it stays when the next one cannot be.
    @usableFromInline private(set) var copy: UnsafeMutableRawPointer
    private var copyCapacity: Int
    private var spare: UnsafeMutableRawBufferPointer

    /// - Parameter first: ``firstNumber(at:_:)``.
    init(_ memory: ChannelMemory, expecting first: UInt64? = nil, isAlwaysCopied: Bool = false) {
        self.memory = memory
        var expected: [UInt64?] = (0..<(memory.overwrites ? memory.writerSlots : 0)).map {
            memory.writer($0, LogLayout.WriterSlot.sequence).published
        }
        if memory.overwrites, !memory.hasSharedWriters { expected[0] = first }
        self.expected = expected
        copyCapacity = memory.overwrites || isAlwaysCopied ? 256 : 0
        unsafe copy = .allocate(byteCount: copyCapacity, alignment: LogLayout.Frame.alignment)
        unsafe spare = .allocate(byteCount: copyCapacity, alignment: LogLayout.Frame.alignment)
    }

    /// Which number an exclusive writer's message at `position` has, or will have: its slot does not tell. Nil if nothing does.
    static func firstNumber(at position: UInt64, _ memory: ChannelMemory) throws(IPCError) -> UInt64? {
        guard memory.overwrites, !memory.hasSharedWriters else { return nil }
        if position == 0 { return 0 }
        for _ in 0..<attempts {
            switch try LogPositions.look(memory, at: position) {
            case .overwritten: return nil
            case .frame(let header): return header.sequence
            case .nothing:
                let end = try LogPositions.end(memory)
                if end.position == position { return end.sequence }  // else it came meanwhile
            }
        }
        return nil
    }

    private static var attempts: Int { 16 }

    @inlinable deinit { free() }

    @usableFromInline @inline(never)
    func free() {
        unsafe copy.deallocate()
        unsafe spare.deallocate()
    }

    /// Counts what is missing before this frame.
    @usableFromInline
    mutating func see(_ header: FrameHeader) {
        let writer = Int(header.writer)
        guard writer < expected.count else { return }
        if let next = expected[writer], header.sequence > next { missed &+= header.sequence - next }
        expected[writer] = header.sequence &+ 1
    }

    /// Copies a payload; false if it was overwritten meanwhile.
    ///
    /// - Parameter limit: Copy so many of its bytes at most.
    @usableFromInline
    mutating func take(
        _ payload: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, limit: Int = .max
    ) -> Bool {
        let count = min(Int(header.length), limit)
        if unsafe spare.count < count {
            unsafe spare.deallocate()
            unsafe spare = .allocate(byteCount: count * 2, alignment: LogLayout.Frame.alignment)
        }
        unsafe spare.baseAddress!.copyMemory(from: payload, byteCount: count)
        guard !memory.mayBeOverwritten(position) else { return false }
        let taken = unsafe spare
        unsafe spare = UnsafeMutableRawBufferPointer(start: copy, count: copyCapacity)
        unsafe copy = taken.baseAddress!
        copyCapacity = taken.count
        see(header)
        return true
    }
}
