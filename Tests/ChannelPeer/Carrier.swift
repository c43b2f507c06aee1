import Glibc
import IPC
import IPCChannels

/// Carries numbered messages into a channel, as a bridge does: it goes on after the last one that it finds there.
enum Carrier {
    static func carry(_ name: String, machine: UInt64, upTo last: UInt64) throws {
        var writer = try AnyChannel.open(name).makeWriter()
        let own = try writer.newestOrigins().first { $0.machine == machine }
        let first = (own?.sequence ?? 0) + 1
        ChannelPeer.say("from \(first)")
        guard first <= last else { return }
        for number in first...last {
            let origin = MessageOrigin(machine: machine, channel: ~number, position: number * 64, sequence: number)
            let message = [UInt64](repeating: number, count: 1 + Int(number % 9))
            try writer.write(message.span.bytes, origin: origin, until: .after(.seconds(20)))
        }
    }

    /// The same for ever, in a log that overwrites.
    static func flood(_ name: String, machine: UInt64) throws {
        var writer = try AnyChannel.open(name).makeWriter()
        for number in 1... as PartialRangeFrom<UInt64> {
            let origin = MessageOrigin(machine: machine, channel: ~number, position: number * 64, sequence: number)
            let message = [UInt64](repeating: number, count: 1 + Int(number % 90))
            try writer.write(message.span.bytes, origin: origin)
            if number == 1 { ChannelPeer.say("ready") }
        }
    }
}
