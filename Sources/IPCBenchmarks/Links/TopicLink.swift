import CBaselines
import IPC
import IPCChannels

/// Two topics, one for each direction. The payload is filled and read in the log itself.
struct TopicLink: Link, ~Copyable {
    var publisher: Publisher<RawBytes>
    var subscription: Subscription<RawBytes>
    let size: Int
    /// Bytes of a log for messages of this size.
    static func capacity(_ size: Int) -> Int {
        var capacity = 1 << 20
        while capacity < 4 * size { capacity *= 2 }
        return capacity
    }

    var progress = LinkProgress()

    init(publisher: consuming Publisher<RawBytes>, subscription: consuming Subscription<RawBytes>, size: Int) {
        self.publisher = publisher
        self.subscription = subscription
        self.size = size
    }

    @inline(__always)
    mutating func send(_ index: UInt64) throws(IPCError) {
        try publisher.publish(upTo: size) { (frame) throws(IPCError) in
            unsafe frame.withUnsafeMutableBytes { buffer, count in
                unsafe cb_fill(buffer.baseAddress!, buffer.count, index)
                count = buffer.count
            }
        }
    }

    @inline(__always)
    mutating func receive() throws(IPCError) -> UInt64? {
        try subscription.receive { (payload) throws(IPCError) in
            unsafe payload.withUnsafeBytes { unsafe cb_check($0.baseAddress!, $0.count) }
        }
    }
}
