import Glibc
import IPC
import IPCChannels

/// A process that has as many descriptors open as it may.
enum Descriptors {
    /// Runs `body` with none left.
    private static func withNone(_ body: () throws -> Void) throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var few = rlimit(rlim_cur: 256, rlim_max: limit.rlim_max)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &few)
        var taken: [CInt] = []
        while case let descriptor = dup(0), descriptor >= 0 { taken.append(descriptor) }
        defer {
            for descriptor in taken { close(descriptor) }
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        try body()
    }

    /// An event loop of this process waits, and a thread of it publishes without a descriptor.
    static func wait(_ name: String) throws {
        let topic = try Topic<UInt64>.openOrCreate(name)
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let bell = try ReadinessDescriptor()
        guard try subscription.readiness().arm(bell) else { fatalError("nothing was published") }
        try withNone {
            try publisher.publish(7)
            var request = pollfd(fd: bell.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
            let count = poll(&request, 1, 5000)
            ChannelPeer.say("rung \(count) got \(try subscription.tryReceive().map { "\($0)" } ?? "nothing")")
        }
    }

    /// Publishes without a descriptor, and, once it is told, with some.
    static func publish(_ name: String) throws {
        var publisher = try Topic<UInt64>.open(name).makePublisher()
        let signals = SignalSet([.terminate])
        signals.blockInCallingThread()
        let source = try SignalSource([.terminate])
        try withNone {
            try publisher.publish(1)
            ChannelPeer.say("published")
            _ = try source.next()
        }
        try publisher.publish(2)
        ChannelPeer.say("published again")
    }
}
