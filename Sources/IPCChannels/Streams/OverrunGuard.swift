import IPC
import Synchronization

/// What a reader needs where messages may be overwritten while it reads: a copy of each message, and the sequence numbers that show
/// a gap. Elsewhere it does nothing.
@safe @usableFromInline
struct OverrunGuard: ~Copyable {
    private let memory: ChannelMemory
    /// The next expected sequence number for each writer's slot; nil before the first message.
    private var expected: [UInt64?]
    var missed: UInt64 = 0
    /// What another machine's messages have lost on their way here.
    var missedElsewhere: UInt64 = 0
    /// How many bytes of the log were skipped.
    var missedBytes: UInt64 = 0
    /// The last payload that was taken. It stays valid if the next copy fails.
    @usableFromInline private(set) var copy: UnsafeMutableRawPointer
    private var copyCapacity: Int
    /// The origin of the last message that was taken and had one.
    private(set) var origin: MessageOrigin?
    private var spare: UnsafeMutableRawBufferPointer

    /// - Parameter start: Where the reader begins.
    init(_ memory: ChannelMemory, from start: UInt64) throws(IPCError) {
        self.init(memory, try Self.firstNumbers(memory, from: start), copyCapacity: 256)
    }

    /// For a log that is not overwritten.
    init(unused memory: ChannelMemory) { self.init(memory, [], copyCapacity: 0) }

    private init(_ memory: ChannelMemory, _ expected: [UInt64?], copyCapacity: Int) {
        self.memory = memory
        self.expected = expected
        self.copyCapacity = copyCapacity
        unsafe copy = .allocate(byteCount: copyCapacity, alignment: LogLayout.Frame.alignment)
        unsafe spare = .allocate(byteCount: copyCapacity, alignment: LogLayout.Frame.alignment)
    }

    @inlinable deinit { free() }

    /// The sequence numbers of the first messages from `start` on, so that the first gap is counted too. A number that is not known
    /// exactly may be too high but not too low: the count never exceeds what was missed.
    private static func firstNumbers(_ memory: ChannelMemory, from start: UInt64) throws(IPCError) -> [UInt64?] {
        var expected: [UInt64?]
        if memory.hasSharedWriters {
            expected = (0..<memory.writerSlots).map { slot in
                let next = memory.writer(slot, LogLayout.WriterSlot.sequence).published
                // The slot still has the number of a message that is being written. If that one lies before the start, this reader
                // will not get it.
                let isBefore = memory.writer(slot, LogLayout.WriterSlot.intentPosition).published < start
                return isBefore ? next &+ 1 : next
            }
        } else {
            // An exclusive writer publishes its number together with its tail; the frames after that are scanned.
            let end = try LogPositions.end(memory).sequence
            expected = [end ?? memory.writer(0, LogLayout.WriterSlot.sequence).published]
        }
        // Frames that are there already have lower numbers. A thousand are enough to find most writers.
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
    /// - Parameter limit: The most bytes to copy.
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
        let origin = header.hasOrigin ? memory.origin(of: header, at: position) : nil
        guard !memory.mayBeOverwritten(position) else { return false }
        if header.hasOrigin { self.origin = origin }
        let taken = unsafe spare
        unsafe spare = UnsafeMutableRawBufferPointer(start: copy, count: copyCapacity)
        unsafe copy = taken.baseAddress!
        copyCapacity = taken.count
        see(header)
        return true
    }
}
