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
    /// How many bytes of the log were passed over.
    var missedBytes: UInt64 = 0
    /// The last payload that was taken; it stays when the next one cannot be.
    @usableFromInline private(set) var copy: UnsafeMutableRawPointer
    private var copyCapacity: Int
    private var spare: UnsafeMutableRawBufferPointer

    /// - Parameter start: Where the reader begins.
    init(_ memory: ChannelMemory, from start: UInt64) throws(IPCError) {
        self.init(memory, try Self.firstNumbers(memory, from: start), copyCapacity: 256)
    }

    /// Where nothing is overwritten.
    init(unused memory: ChannelMemory) { self.init(memory, [], copyCapacity: 0) }

    private init(_ memory: ChannelMemory, _ expected: [UInt64?], copyCapacity: Int) {
        self.memory = memory
        self.expected = expected
        self.copyCapacity = copyCapacity
        unsafe copy = .allocate(byteCount: copyCapacity, alignment: LogLayout.Frame.alignment)
        unsafe spare = .allocate(byteCount: copyCapacity, alignment: LogLayout.Frame.alignment)
    }

    @inlinable deinit { free() }

    /// The numbers of the first messages from `start` on, so that the first gap is counted too. Where they are not known exactly, none
    /// is lower than its message's: nobody is told of more than was missed.
    private static func firstNumbers(_ memory: ChannelMemory, from start: UInt64) throws(IPCError) -> [UInt64?] {
        var expected: [UInt64?]
        if memory.hasSharedWriters {
            expected = (0..<memory.writerSlots).map { slot in
                let next = memory.writer(slot, LogLayout.WriterSlot.sequence).published
                // A message that is being written has its number still: one before the start is none that comes.
                let isBefore = memory.writer(slot, LogLayout.WriterSlot.intentPosition).published < start
                return isBefore ? next &+ 1 : next
            }
        } else {
            // An exclusive writer tells its number together with its tail; what comes after that is looked through.
            let end = try LogPositions.end(memory).sequence
            expected = [end ?? memory.writer(0, LogLayout.WriterSlot.sequence).published]
        }
        // Those that are there already came earlier. A thousand are enough to find most writers.
        var position = start
        for _ in 0..<1024 {
            guard case .frame(let header) = try LogPositions.look(memory, at: position) else { break }
            let writer = Int(header.writer)
            if writer < expected.count { expected[writer] = min(expected[writer] ?? .max, header.sequence) }
            position &+= header.size
        }
        return expected
    }

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
