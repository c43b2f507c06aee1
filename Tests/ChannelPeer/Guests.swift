import Glibc
import IPC
import IPCChannels

/// Subscribers of another user, who may write nothing but a cursor of their own.
enum Guests {
    static func run(_ how: String, _ arguments: [String]) async throws {
        do throws(IPCError) {
            if how == "receive-as-task" { try await receive(arguments.last!) } else { try act(how, arguments) }
        } catch {
            ChannelPeer.say("no: \(error)")
        }
    }

    private static func receive(_ name: String) async throws(IPCError) {
        var subscription = try Topic<UInt64>.open(name).makeSubscription()
        ChannelPeer.say("in place")
        while true { ChannelPeer.say("\(try await subscription.receive())") }
    }

    private static func act(_ how: String, _ arguments: [String]) throws(IPCError) {
        let signals = try SignalSource([.userDefined1])
        var subscription = try Topic<UInt64>.open(arguments.last!).makeSubscription()
        ChannelPeer.say("in place")
        switch how {
        case "receive": while true { ChannelPeer.say("\(try subscription.receive())") }
        case "read-all":
            // The publisher waits until then.
            _ = try signals.next()
            while try subscription.tryReceive() != nil {}
            _ = try signals.next()
        case "leave":
            _ = try signals.next()
            subscription.close()
            _ = try signals.next()
        case "receive-quietly":
            // Until it is told to end: what it gets is what was sent, however much it misses.
            var (last, count, isTrue) = (0, 0, true) as (UInt64, UInt64, Bool)
            while try signals.tryNext() == nil {
                do throws(IPCError) {
                    let number = try subscription.receive(until: .after(.milliseconds(20)))
                    isTrue = isTrue && number > last
                    (last, count) = (number, count + 1)
                } catch {
                    guard error.code == .timedOut else { throw error }
                }
            }
            ChannelPeer.say("\(isTrue), \(count) of \(last)")
        case "scribble": try scribble(seed: UInt64(arguments[0])!, arguments[1])
        default: withExtendedLifetime(subscription) { while true { pause() } }
        }
    }

    /// Until it is killed.
    private static func scribble(seed: UInt64, _ name: String) throws(IPCError) {
        let folder = try ChannelRoot.current.path + "/" + ChannelName(name).description.replacing("/", with: ":")
        var state = seed
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
        for file in ["control", "log", "locks", "subscribers"] {
            let descriptor = open(folder + "/" + file, O_RDWR | O_CLOEXEC | O_NONBLOCK)
            if descriptor >= 0 {
                ftruncate(descriptor, 0)
                ftruncate(descriptor, 1 << 40)
                // As much as there is room for on the disk.
                let bytes = [UInt8](repeating: 7, count: 1 << 20)
                for _ in 0..<64 where write(descriptor, bytes, bytes.count) > 0 {}
                // Its first hundred thousand bytes, the membership lock's among them.
                var lock = flock()
                (lock.l_type, lock.l_whence, lock.l_len) = (Int16(F_WRLCK), Int16(SEEK_SET), 0x1_0000)
                _ = fcntl(descriptor, 37, &lock)
            }
        }
        let words = try segments()
        let interesting: [UInt64] = [0, 1, 2, 3, .max, .max - 1, 1 << 32, 1 << 63, 64, 65_536, UInt64(getpid())]
        while true {
            for _ in 0..<1000 {
                let segment = words[Int(next() % UInt64(words.count))]
                let index = Int(next() % UInt64(segment.count / 8))
                let value = next() % 2 == 0 ? interesting[Int(next() % UInt64(interesting.count))] : next()
                segment.storeBytes(of: value, toByteOffset: index * 8, as: UInt64.self)
            }
            usleep(100)
        }
    }

    /// All System V segments that this process has attached.
    private static func segments() throws(IPCError) -> [UnsafeMutableRawBufferPointer] {
        var text = [UInt8](repeating: 0, count: 1 << 20)
        let maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)
        var count = 0
        while true {
            let part = text.withUnsafeMutableBytes { read(maps, $0.baseAddress! + count, $0.count - count) }
            if part <= 0 { break }
            count += part
        }
        let found = String(decoding: text[..<count], as: UTF8.self).split(separator: "\n").filter {
            $0.contains("/SYSV")
        }.map { line in
            let range = line.split(separator: " ")[0].split(separator: "-").map { UInt($0, radix: 16)! }
            return UnsafeMutableRawBufferPointer(
                start: UnsafeMutableRawPointer(bitPattern: range[0]), count: Int(range[1] - range[0]))
        }
        guard !found.isEmpty else {
            throw IPCError(.notFound, "read", "/proc/self/maps", advice: "no segment is there")
        }
        return found
    }
}
