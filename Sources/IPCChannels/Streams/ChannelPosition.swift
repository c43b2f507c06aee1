/// A position between two messages of a channel, for ``SubscriptionStart/position(_:)``.
///
/// It is valid only for the channel that it was taken from. A channel created again under the same name is another channel and
/// rejects it.
public struct ChannelPosition: Hashable, Sendable, LosslessStringConvertible {
    /// The channel: a number that no other channel has.
    public let channel: UInt64
    /// The number of bytes in the channel's log before the position, counted since the channel was created.
    public let offset: UInt64

    public init(channel: UInt64, offset: UInt64) {
        self.channel = channel
        self.offset = offset
    }

    /// Parses a position's description, such as `9c01d2a47be0f315:4096`; nil if it is not one.
    public init?(_ description: String) {
        let parts = description.split(separator: ":", omittingEmptySubsequences: false)
        // Swift's integer parsers accept a sign; a position has none.
        guard parts.count == 2, parts.allSatisfy({ $0.first != "+" && $0.first != "-" }),
            let channel = UInt64(parts[0], radix: 16), let offset = UInt64(parts[1])
        else {
            return nil
        }
        self.init(channel: channel, offset: offset)
    }

    public var description: String { String(channel, radix: 16) + ":\(offset)" }
}
