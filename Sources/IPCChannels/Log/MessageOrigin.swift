/// Where a message was written that was carried here from another machine.
///
/// It is in the log with the message, and becomes visible with it, by the same store. So a carrier that was killed finds in the log what
/// it wrote last: ``AnyChannel/newestOrigins()``. None of it has a meaning in the log; the carrier chooses the numbers.
public struct MessageOrigin: Hashable, Sendable {
    /// The machine, such as a hash of its name.
    public var machine: UInt64
    /// The channel over there: its ``AnyChannel/incarnation``.
    public var channel: UInt64
    /// Where the message was in that channel's log, in bytes: ``ChannelPosition/offset``.
    public var position: UInt64
    /// The carrier's number for it.
    public var sequence: UInt64

    public init(machine: UInt64, channel: UInt64, position: UInt64, sequence: UInt64) {
        self.machine = machine
        self.channel = channel
        self.position = position
        self.sequence = sequence
    }

    /// - Parameter place: ``LogLayout/Frame/originSize`` bytes in the log, a multiple of 8.
    init(_ place: UnsafeMutableRawPointer) {
        let word = unsafe SharedUInt64(place)
        machine = word.relaxed
        channel = word.next.relaxed
        position = word.next.next.relaxed
        sequence = word.next.next.next.relaxed
    }

    func store(at place: UnsafeMutableRawPointer) {
        let word = unsafe SharedUInt64(place)
        word.relaxed = machine
        word.next.relaxed = channel
        word.next.next.relaxed = position
        word.next.next.next.relaxed = sequence
    }
}

extension FrameHeader {
    /// How far the origin is behind the beginning of the frame; nil if there is none. There is none either if the frame has no room for
    /// it: a peer stored the kind that does not use this library.
    ///
    /// - Parameter trailerSize: ``ChannelMemory/trailerSize``.
    func originPlace(trailerSize: Int) -> Int? {
        let place = Int(size) - trailerSize - LogLayout.Frame.originSize
        guard hasOrigin, Int(length) + LogLayout.Frame.headerSize <= place else { return nil }
        return place
    }
}

extension ChannelMemory {
    /// The origin of the message at `position`; nil if it has none. Where it may be overwritten, that has to be checked afterwards.
    ///
    /// - Parameter header: Its header, which was checked: the frame is not larger than one may be.
    func origin(of header: FrameHeader, at position: UInt64) -> MessageOrigin? {
        guard let place = header.originPlace(trailerSize: trailerSize) else { return nil }
        return unsafe MessageOrigin(log + Int(truncatingIfNeeded: position & mask) + place)
    }
}
