import IPC
import Synchronization

/// Where frames begin, found without a list of them: for whoever comes later than the frames.
///
/// All of it is hints that are checked: a position counts if a committed frame is there.
enum LogPositions {
    /// What is at a position.
    enum Look {
        case nothing
        case frame(FrameHeader)
        /// Writers may have gone round to it, so what was read means nothing.
        case overwritten
    }

    /// The end of what is committed without a gap, from the last place that an exclusive writer told, and the sequence
    /// number after the last message; nil if there is no frame after that place.
    static func end(_ memory: ChannelMemory) throws(IPCError) -> (position: UInt64, sequence: UInt64?) {
        var position = try memory.checkedTail()
        var sequence: UInt64?
        var restarts = 0
        for _ in 0..<memory.frameLimit {
            guard restarts < 64 else { break }
            switch try look(memory, at: position) {
            case .nothing: return (position, sequence)
            case .overwritten:
                (position, sequence) = (try memory.checkedTail(), nil)  // a newer one by now
                restarts += 1
            case .frame(let header):
                position &+= header.size
                sequence = header.sequence &+ 1
            }
        }
        return (position, sequence)
    }

    /// The header of the committed frame at `position`, copied, and looked at afterwards whether it was that frame's still.
    static func look(_ memory: ChannelMemory, at position: UInt64) throws(IPCError) -> Look {
        guard memory.isCommitted(position) else { return .nothing }
        let header = unsafe FrameHeader(memory.log + Int(truncatingIfNeeded: position & memory.mask))
        guard !memory.mayBeOverwritten(position) else { return .overwritten }
        guard header.isValid(upTo: memory.maximumFrame) else {
            throw memory.corrupted("the frame at \(position) is larger than the log allows")
        }
        return .frame(header)
    }

    /// Where the last `count` messages before `end` begin, or all from `oldest` on if there are fewer.
    ///
    /// From the newest block back, so that it takes no longer than those messages do, and their block.
    static func last(
        _ count: Int, from oldest: UInt64, to end: UInt64, _ memory: ChannelMemory
    ) throws(IPCError) -> UInt64 {
        guard count > 0, oldest < end else { return end }
        var (missing, first, upper) = (count, end, end)
        var block = (end - 1) >> memory.blockShift
        for _ in 0...LogLayout.blockCount {
            let start = block > oldest >> memory.blockShift ? blockStart(memory, block) : oldest
            if let start, start >= oldest, start < upper {
                guard let messages = try messages(memory, from: start, to: upper) else { return first }
                if messages.count >= missing { return messages[messages.count - missing] }
                missing -= messages.count
                (first, upper) = (messages.first ?? first, start)
            }
            guard block > oldest >> memory.blockShift else { break }
            block -= 1
        }
        return first
    }

    /// Where the messages in a part of the log begin; nil if that was overwritten meanwhile.
    private static func messages(
        _ memory: ChannelMemory, from start: UInt64, to end: UInt64
    ) throws(IPCError) -> [UInt64]? {
        var messages: [UInt64] = []
        var position = start
        for _ in 0..<memory.frameLimit {
            guard position < end else { break }
            guard case .frame(let header) = try look(memory, at: position) else {
                return memory.mayBeOverwritten(position) ? nil : messages
            }
            if header.kind == LogLayout.Kind.message { messages.append(position) }
            position &+= header.size
        }
        return messages
    }

    /// Where the first frame that begins in a block does; nil if that is not told, or was another lap's.
    private static func blockStart(_ memory: ChannelMemory, _ block: UInt64) -> UInt64? {
        let index = Int(truncatingIfNeeded: block % UInt64(LogLayout.blockCount))
        let start = memory.word(LogLayout.blockStarts + index * 8).published
        guard LogLayout.Frame.isAligned(start), start >> memory.blockShift == block, memory.isCommitted(start) else {
            return nil
        }
        return start
    }

    /// The first frame at or after `bound` that is known to begin a frame; at the latest the tail.
    static func first(_ memory: ChannelMemory, from bound: UInt64) -> UInt64 {
        let tail = LogLayout.Frame.aligned(memory.tail.published)
        guard bound > 0 else { return 0 }
        let shift = memory.blockShift
        var best = tail
        for block in 0..<LogLayout.blockCount {
            let start = memory.word(LogLayout.blockStarts + block * 8).published
            let isPlausible =
                start >= bound && start < best && LogLayout.Frame.isAligned(start)
                && Int(truncatingIfNeeded: start >> shift) % LogLayout.blockCount == block
            if isPlausible, memory.isCommitted(start) { best = start }
        }
        return best
    }

    /// What lies before this may have been overwritten.
    static func oldestSafe(frontier: UInt64, capacity: UInt64) -> UInt64 {
        // A frame begins with a line, whatever a peer stored: else no reader could ever come to be past it.
        frontier > capacity ? LogLayout.Frame.aligned(frontier - capacity) : 0
    }

    /// All that was committed until now begins before this; it is not far from the end.
    static func bound(_ memory: ChannelMemory) -> UInt64 {
        let tail = memory.tail.ordered
        // An exclusive writer tells its end whenever it enters a block.
        return memory.hasSharedWriters ? tail : ((tail >> memory.blockShift) &+ 1) << memory.blockShift
    }

    /// A frame near the end, with at least one other after it: the last but one that is known to begin a block.
    static func recent(_ memory: ChannelMemory) -> UInt64 {
        let block = memory.tail.ordered >> memory.blockShift
        var newest: UInt64 = 0
        var second: UInt64 = 0
        // Frames are at most half the log.
        for back in 0..<UInt64(LogLayout.blockCount) {
            guard block >= back else { break }
            guard let start = blockStart(memory, block - back) else { continue }
            if newest > 0 {
                second = start
                break
            }
            newest = start
        }
        return second
    }
}

extension ChannelMemory {
    /// A block of the log is a 64th of it.
    var blockShift: UInt64 { UInt64((capacity / LogLayout.blockCount).trailingZeroBitCount) }

    /// The tail, at which a frame can begin, whatever a peer stored.
    func checkedTail() throws(IPCError) -> UInt64 {
        // Sequentially consistent: a reader that joins stores its cursor, and then looks at the tail.
        let tail = tail.ordered
        guard LogLayout.Frame.isAligned(tail), tail < LogLayout.farthest else {
            throw corrupted("its tail is \(tail)")
        }
        return tail
    }

    /// What lies before this may have been overwritten.
    var oldestSafe: UInt64 { LogPositions.oldestSafe(frontier: frontier.ordered, capacity: UInt64(capacity)) }

    /// Whether a writer may have begun to write over what is at `position`. Asked after that was read: if not, what was read is
    /// what was there.
    func mayBeOverwritten(_ position: UInt64) -> Bool {
        // An acquiring load does not keep earlier loads before it; this does. Pairs with the fence of a writer that raised the
        // frontier: if we read what it wrote, we see the frontier that covers it.
        atomicMemoryFence(ordering: .acquiring)
        return position < oldestSafe
    }
}
