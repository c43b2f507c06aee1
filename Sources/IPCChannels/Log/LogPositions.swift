import IPC
import Synchronization

/// Finds where frames begin, without a list of them, for participants that come later than the frames.
///
/// Stored positions are hints that are checked: a position counts only if a committed frame is there.
enum LogPositions {
    /// What is at a position.
    enum Look {
        case nothing
        case frame(FrameHeader)
        /// Writers may have overwritten it, so what was read is invalid.
        case overwritten
    }

    /// The end of what is committed without a gap, searched from where an exclusive writer last published its end; and the sequence
    /// number after the last message, or nil if no frame follows that place.
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

    /// A copy of the header of the committed frame at `position`, checked afterwards: the frame was not overwritten before the
    /// copy.
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
    /// Searches from the newest block back, so that it scans only those messages and the rest of their block.
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

    /// Where the messages in a part of the log begin; nil if that part was overwritten meanwhile.
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
            if header.isMessage { messages.append(position) }
            position &+= header.size
        }
        return messages
    }

    /// Where the first frame that begins in a block begins; nil if that is not stored or is from another lap.
    private static func blockStart(_ memory: ChannelMemory, _ block: UInt64) -> UInt64? {
        let index = Int(truncatingIfNeeded: block % UInt64(LogLayout.blockCount))
        let start = memory.word(LogLayout.blockStarts + index * 8).published
        guard LogLayout.Frame.isAligned(start), start >> memory.blockShift == block, memory.isCommitted(start) else {
            return nil
        }
        return start
    }

    /// The first known beginning of a frame at or after `bound`; at the latest the tail.
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

    /// Everything before this may have been overwritten.
    static func oldestSafe(reservedEnd: UInt64, capacity: UInt64) -> UInt64 {
        // Aligned, whatever a peer stored: a frame begins on a cache line, so no reader could ever be exactly past another
        // position.
        reservedEnd > capacity ? LogLayout.Frame.aligned(reservedEnd - capacity) : 0
    }

    /// Every frame committed so far begins before this. It is not far from the end.
    static func bound(_ memory: ChannelMemory) -> UInt64 {
        let tail = memory.tail.ordered
        // An exclusive writer publishes its end whenever it enters a block.
        return memory.hasSharedWriters ? tail : ((tail >> memory.blockShift) &+ 1) << memory.blockShift
    }

    /// A frame near the end, with at least one other after it: the last but one that is known to be the first of a block.
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

    /// The tail, checked to be a position where a frame can begin, whatever a peer stored.
    func checkedTail() throws(IPCError) -> UInt64 {
        // Sequentially consistent: a reader that joins stores its cursor and then loads the tail.
        let tail = tail.ordered
        guard LogLayout.Frame.isAligned(tail), tail < LogLayout.farthest else {
            throw corrupted("its tail is invalid: \(tail)")
        }
        return tail
    }

    /// Everything before this may have been overwritten.
    var oldestSafe: UInt64 { LogPositions.oldestSafe(reservedEnd: reservedEnd.ordered, capacity: UInt64(capacity)) }

    /// Whether a writer may have begun to overwrite what is at `position`. Called after reading there: if it returns false, what
    /// was read is valid.
    func mayBeOverwritten(_ position: UInt64) -> Bool {
        // An acquiring load does not keep earlier loads before it; this fence does. It pairs with the fence of a writer that raised
        // the reserved end: a reader that has read new bytes sees the reserved end that covers them.
        atomicMemoryFence(ordering: .acquiring)
        return position < oldestSafe
    }
}
