import Glibc
import IPC
import IPCChannels
import SystemPackage

/// One that tries to do something to a channel that is there, and says whether it could: a cell of the table in
/// `Documentation/roles.md`. In `NAME/topic` a 1 is the first message, in `NAME/latest` a 1 is the value.
enum Roles {
    /// Makes what the others try it at.
    static func make(_ name: String, _ permissions: String, guests: String) throws {
        var options = ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536)
        options.permissions = FilePermissions(rawValue: CModeT(permissions, radix: 8)!)
        options.subscriberPermissions = FilePermissions(rawValue: CModeT(guests, radix: 8)!)
        var publisher = try Topic<UInt64>.openOrCreate(name + "/topic", options).makePublisher()
        try publisher.publish(1)
        _ = try Topic<UInt64>.openOrCreate(name + "/held", options)
        var value = LatestOptions()
        (value.writers, value.lifetime, value.permissions) = (.shared, .kept, options.permissions)
        value.subscriberPermissions = options.subscriberPermissions
        var setter = try Latest<UInt64>.openOrCreate(name + "/latest", value).makeSetter()
        try setter.set(1)
        ChannelPeer.say("made")
    }

    static func attempt(_ ability: String, _ name: String) async throws {
        do throws(IPCError) {
            try await perform(ability, name)
            ChannelPeer.say("yes")
        } catch {
            ChannelPeer.say("no: \(error)")
        }
    }

    private static func perform(_ ability: String, _ name: String) async throws(IPCError) {
        let topic = name + "/topic"
        let soon = Deadline.after(.seconds(20))
        switch ability {
        case "observe":
            var observer = try Topic<UInt64>.open(topic).makeObserver(from: .oldest)
            try check(await observer.receive(until: soon))
            let another = try Topic<UInt64>.open(topic).makeObserver(from: .oldest)
            for try await number in another.messages() {
                try check(number)
                break
            }
            var latest = try Latest<UInt64>.open(name + "/latest").makeObserver()
            try check(latest.get())
        case "tap":
            var tap = try ChannelTap(topic, from: .oldest)
            try check(tap.next()?.bytes.first.map(UInt64.init))
            _ = try ChannelDescription(ChannelName(topic))
        case "subscribe":
            var subscription = try Topic<UInt64>.open(topic).makeSubscription(from: .oldest)
            try check(await subscription.receive(until: soon))
            var latest = try Latest<UInt64>.open(name + "/latest").makeGetter()
            try check(latest.get())
        case "wait":
            // A task is woken by a FIFO in the root.
            var subscription = try Topic<UInt64>.open(topic).makeSubscription()
            do throws(IPCError) { _ = try await subscription.receive(until: .after(.milliseconds(20))) } catch {
                if error.code != .timedOut { throw error }
            }
        case "publish":
            var publisher = try Topic<UInt64>.open(topic).makePublisher()
            try await publisher.publish(1)
            var setter = try Latest<UInt64>.open(name + "/latest").makeSetter()
            try setter.set(1)
        case "create":
            _ = try Topic<UInt64>.openOrCreate(name + "/own", ChannelOptions(lifetime: .kept))
            try Topic<UInt64>.remove(name + "/own")
        case "remove": try Topic<UInt64>.remove(topic)
        case "hold-back":
            // Nothing is read, in a log of its own. Whoever may not subscribe observes.
            do throws(IPCError) {
                let subscription = try Topic<UInt64>.open(name + "/held").makeSubscription(from: .oldest)
                stay()
                subscription.close()
            } catch {
                guard error.code == .permissionDenied else { throw error }
                let observer = try Topic<UInt64>.open(name + "/held").makeObserver(from: .oldest)
                stay()
                observer.close()
            }
        case "forge":
            // The first message's payload becomes a 9.
            try file(topic, "log", O_WRONLY) { descriptor in
                var nine: UInt64 = 9
                return pwrite(descriptor, &nine, 8, 32) == 8
            }
        case "lock":
            // A lock for reading, which takes permission to read only, of each file that there is.
            try file(topic, "control", O_RDONLY, lock)
            try file(topic, "log", O_RDONLY, lock)
            for name in ["locks", "subscribers"] {
                do throws(IPCError) { try file(topic, name, O_RDONLY | O_NONBLOCK, lock) } catch {
                    if error.code != .permissionDenied, error.code != .notFound { throw error }
                }
            }
            stay()
        default: fatalError("unknown ability \(ability)")
        }
    }

    /// `F_OFD_SETLK`, which the C library has for those only who ask for all that it has.
    private static let setLock: CInt = 37

    private static func check(_ number: UInt64?) throws(IPCError) {
        guard number == 1 else { throw IPCError(.corrupted, "read", "1", advice: "it is \(number as Any)") }
    }

    /// Does something with a file of a channel, as a program that is not of this library would.
    private static func file(
        _ name: String, _ file: String, _ flags: CInt, _ body: (CInt) -> Bool
    ) throws(IPCError) {
        let path = try ChannelRoot.current.path + "/" + ChannelName(name).description.replacing("/", with: ":")
        let descriptor = open(path + "/" + file, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw IPCError("open", path + "/" + file, Errno(rawValue: errno)) }
        // It stays open: its locks are to last.
        guard body(descriptor) else { throw IPCError("use", path + "/" + file, Errno(rawValue: errno)) }
    }

    private static func lock(_ descriptor: CInt) -> Bool {
        var lock = flock()
        (lock.l_type, lock.l_whence, lock.l_len) = (Int16(F_RDLCK), Int16(SEEK_SET), 1)
        return fcntl(descriptor, setLock, &lock) == 0
    }

    /// Says that it is in place, and stays there until it is ended.
    private static func stay() {
        ChannelPeer.say("in place")
        while true { pause() }
    }
}
