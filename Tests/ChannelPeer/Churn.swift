import IPC
import IPCChannels

/// Creates, opens, joins or removes one channel for a while, with others that do the same, and tells of each error that its
/// documentation does not name.
enum Churn {
    static func run(_ name: String, _ role: String, seconds: Int) throws {
        let end = Deadline.after(.seconds(seconds))
        var (count, failures) = (0, [String: Int]())
        while !end.hasPassed {
            count += 1
            do throws(IPCError) {
                try step(name, role)
            } catch {
                let allowed: [IPCError.Code] =
                    switch role {
                    case "create": []
                    case "create-new": [.alreadyExists]
                    default: [.notFound]
                    }
                if !allowed.contains(error.code) { failures["\(error.code): \(error)", default: 0] += 1 }
            }
        }
        ChannelPeer.say(failures.isEmpty && count > 0 ? "well" : "\(role): \(failures)")
    }

    private static func step(_ name: String, _ role: String) throws(IPCError) {
        let options = ChannelOptions(writers: .shared, capacity: 65_536)
        switch role {
        case "create": try use(Topic<UInt64>.openOrCreate(name, options))
        case "create-new": try use(Topic<UInt64>.create(name, options))
        case "open": try use(Topic<UInt64>.open(name))
        default: try Topic<UInt64>.remove(name)
        }
    }

    private static func use(_ topic: Topic<UInt64>) throws(IPCError) {
        var publisher = try topic.makePublisher()
        // Somebody may have removed it since: that is told, and is no failure of joining.
        do throws(IPCError) { _ = try publisher.tryPublish(1) } catch  where error.code == .removed {}
    }
}
