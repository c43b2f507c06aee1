/// A place between two messages of a channel: for ``SubscriptionStart/position(_:)``.
///
/// It belongs to the channel that it was taken from. One that is made anew under the same name is another channel, and refuses it.
public struct ChannelPosition: Hashable, Sendable, LosslessStringConvertible {
    /// Of which channel: a number that no other has.
    public let channel: UInt64
    /// Bytes of its log before the place, since it was made.
    public let offset: UInt64

    public init(channel: UInt64, offset: UInt64) {
        self.channel = channel
        self.offset = offset
    }

    /// One that was written down: such as `9c01d2a47be0f315:4096`.
    public init?(_ description: String) {
        let parts = description.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let channel = UInt64(parts[0], radix: 16), let offset = UInt64(parts[1]) else {
            return nil
        }
        self.init(channel: channel, offset: offset)
    }

    public var description: String { String(channel, radix: 16) + ":\(offset)" }
}
