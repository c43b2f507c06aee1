import IPC

/// Where frames begin, found without a list of them: for whoever comes later than the frames.
///
/// All of it is hints that are checked: a position counts if a committed frame is there.
enum LogPositions {
    /// The end of what is committed without a gap, from the last place that an exclusive writer told, and the sequence
    /// number after the last message; nil if there is no frame after that place.
    static func end(_ memory: ChannelMemory) throws(IPCError) -> (position: UInt64, sequence: UInt64?) {
        var position = try memory.checkedTail()
        var sequence: UInt64?
        while let header = try frame(memory, at: position) {
            position &+= header.size
            sequence = header.sequence &+ 1
        }
        return (position, sequence)
    }

    /// The header of the committed frame at `position`; nil if none is there.
    static func frame(_ memory: ChannelMemory, at position: UInt64) throws(IPCError) -> FrameHeader? {
        guard memory.isCommitted(position) else { return nil }
        let header = unsafe FrameHeader(memory.log + Int(truncatingIfNeeded: position & memory.mask))
        guard header.isValid(capacity: memory.capacity) else {
            throw memory.corrupted("the frame at \(position) is larger than the log allows")
        }
        return header
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
        let block = memory.tail.published >> memory.blockShift
        var newest: UInt64 = 0
        var second: UInt64 = 0
        // Frames are at most half the log.
        for back in 0..<UInt64(LogLayout.blockCount) {
            guard block >= back else { break }
            let index = Int(truncatingIfNeeded: (block - back) % UInt64(LogLayout.blockCount))
            let start = memory.word(LogLayout.blockStarts + index * 8).published
            guard LogLayout.Frame.isAligned(start), start >> memory.blockShift == block - back,
                memory.isCommitted(start)
            else {
                continue
            }
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
        let tail = tail.published
        guard LogLayout.Frame.isAligned(tail) else { throw corrupted("its tail is not aligned") }
        return tail
    }

    /// What lies before this may have been overwritten.
    var oldestSafe: UInt64 { LogPositions.oldestSafe(frontier: frontier.ordered, capacity: UInt64(capacity)) }
}
