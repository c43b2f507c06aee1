import CBaselines
import CIPCShims
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// What a participant is told by its command line; its descriptors are the channel's, where to report, and a gate that
/// opens when its other end is closed.
public struct ScalingParticipant: Sendable {
    public enum Role: String, Sendable { case reader, writer, channels }

    public var role: Role
    /// How many messages, or channels.
    public var count: Int

    public init(role: Role, count: Int) {
        self.role = role
        self.count = count
    }

    static let channelMessages = 1_000_000

    static let size = 64
    static let (control, log, report, gate): (CInt, CInt, CInt, CInt) = (3, 4, 5, 6)

    /// Runs in the participant's process.
    public func run() throws(IPCError) {
        ipc_die_with_parent()
        let channel = ChannelDescriptors(control: Self.control, log: Self.log)
        switch role {
        case .reader: try read(Topic(bytesOn: channel))
        case .writer: try write(Topic(bytesOn: channel))
        case .channels: try useManyChannels()
        }
    }

    private func write(_ topic: Topic<RawBytes>) throws(IPCError) {
        var publisher = try topic.makePublisher()
        let gate = try PipeReader(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: Self.gate)))
        _ = try gate.readToEnd()
        for number in 0..<UInt64(count) {
            try publisher.publish(upTo: Self.size) { (frame) throws(IPCError) in
                frame.fill(number, Self.size)
            }
        }
    }

    private func read(_ topic: Topic<RawBytes>) throws(IPCError) {
        var subscription = try topic.makeSubscription()
        let report = try PipeWriter(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: Self.report)))
        try report.write(unsafe [UInt64(0)].span.bytes)
        var first: UInt64 = 0
        for index in 0..<count {
            let number = try subscription.receive(until: .after(.seconds(60))) { (payload) throws(IPCError) in
                payload.index
            }
            guard number != .max else { throw Loops.corrupted }
            if index == 0 { first = cb_now() }
        }
        try report.write(unsafe [cb_now() - first].span.bytes)
    }

    private func useManyChannels() throws(IPCError) {
        var limit = rlimit()
        unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var publishers: [Box] = []
        for _ in 0..<count { publishers.append(try Box()) }
        // Each once, so that all its memory is there.
        for box in publishers { try box.publish(0) }
        let start = cb_now()
        var index = 0
        for number in 0..<UInt64(Self.channelMessages) {
            try publishers[index].publish(number)
            index = index + 1 == count ? 0 : index + 1
        }
        let report = try PipeWriter(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: Self.report)))
        try report.write(unsafe [cb_now() - start].span.bytes)
    }

    /// Arrays hold no values that cannot be copied.
    private final class Box {
        private var publisher: Topic<RawBytes>.Publisher

        init() throws(IPCError) {
            let channel = try ChannelDescriptors.makeUnnamed(
                .topic, ChannelOptions(capacity: 65_536, maximumReaders: 1, maximumWriters: 1))
            defer { for raw in [channel.control, channel.log] { close(raw) } }
            publisher = try Topic<RawBytes>(bytesOn: channel).makePublisher()
        }

        func publish(_ number: UInt64) throws(IPCError) {
            try publisher.publish(upTo: ScalingParticipant.size) { (frame) throws(IPCError) in
                frame.fill(number, ScalingParticipant.size)
            }
        }
    }
}
