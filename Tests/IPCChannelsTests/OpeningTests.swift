import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

private typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>

/// `create`, `open` and `openOrCreate` of each pattern.
@Suite(.timeLimit(.minutes(5))) struct OpeningTests {
    enum Kind: String, CaseIterable, Sendable {
        case topic, queue, service, latest, event

        func create(_ name: String) throws(IPCError) {
            switch self {
            case .topic: _ = try Topic<UInt64>.create(name, ChannelOptions(lifetime: .kept))
            case .queue: _ = try WorkQueue<UInt64>.create(name)
            case .service: _ = try Doubling.create(name, ServiceOptions(lifetime: .kept))
            case .latest: _ = try Latest<UInt64>.create(name, LatestOptions(lifetime: .kept))
            case .event: _ = try Event.create(name, EventOptions(lifetime: .kept))
            }
        }

        /// - Parameter other: Whether to ask for another maximum of participants.
        func openOrCreate(_ name: String, other: Bool = false) throws(IPCError) {
            let maximum = other ? 3 : nil
            switch self {
            case .topic: _ = try Topic<UInt64>.openOrCreate(name, ChannelOptions(maximumReaders: maximum))
            case .queue: _ = try WorkQueue<UInt64>.openOrCreate(name, ChannelOptions(maximumReaders: maximum))
            case .service: _ = try Doubling.openOrCreate(name, ServiceOptions(maximumServers: maximum))
            case .latest: _ = try Latest<UInt64>.openOrCreate(name, LatestOptions(maximumReaders: maximum))
            case .event: _ = try Event.openOrCreate(name, EventOptions(maximumParticipants: maximum))
            }
        }

        func open(_ name: String) throws(IPCError) {
            switch self {
            case .topic: _ = try Topic<UInt64>.open(name)
            case .queue: _ = try WorkQueue<UInt64>.open(name)
            case .service: _ = try Doubling.open(name)
            case .latest: _ = try Latest<UInt64>.open(name)
            case .event: _ = try Event.open(name)
            }
        }

        func open(_ name: String, until deadline: Deadline) throws(IPCError) {
            switch self {
            case .topic: _ = try Topic<UInt64>.open(name, until: deadline)
            case .queue: _ = try WorkQueue<UInt64>.open(name, until: deadline)
            case .service: _ = try Doubling.open(name, until: deadline)
            case .latest: _ = try Latest<UInt64>.open(name, until: deadline)
            case .event: _ = try Event.open(name, until: deadline)
            }
        }

        nonisolated(nonsending) func openAsync(_ name: String, until deadline: Deadline) async throws(IPCError) {
            switch self {
            case .topic: _ = try await Topic<UInt64>.open(name, until: deadline)
            case .queue: _ = try await WorkQueue<UInt64>.open(name, until: deadline)
            case .service: _ = try await Doubling.open(name, until: deadline)
            case .latest: _ = try await Latest<UInt64>.open(name, until: deadline)
            case .event: _ = try await Event.open(name, until: deadline)
            }
        }

        func remove(_ name: String) { try? Topic<UInt64>.remove(name) }
    }

    @Test(arguments: Kind.allCases) func eachVerbDoesWhatItSays(kind: Kind) throws {
        let name = channelName()
        defer { kind.remove(name) }
        #expect(failure { () throws(IPCError) in try kind.open(name) }?.code == .notFound)
        let late = failure { () throws(IPCError) in try kind.open(name, until: .after(.milliseconds(50))) }
        #expect(late?.code == .timedOut)
        try kind.create(name)
        #expect(failure { () throws(IPCError) in try kind.create(name) }?.code == .alreadyExists)
        try kind.open(name)
        try kind.open(name, until: .after(.seconds(5)))
        try kind.openOrCreate(name)
        kind.remove(name)
        try kind.openOrCreate(name)
        try kind.open(name)
    }

    @Test(arguments: Kind.allCases) func whatDiffersFromWhatIsAskedForIsTold(kind: Kind) throws {
        let name = channelName()
        defer { kind.remove(name) }
        try kind.create(name)
        let error = failure { () throws(IPCError) in try kind.openOrCreate(name, other: true) }
        #expect(error?.code == .incompatibleOptions)
        let option =
            switch kind {
            case .service: "maximumServers"
            case .event: "maximumParticipants"
            default: "maximumReaders"
            }
        #expect(error?.advice.contains("\(option) 64, but \(option) 3") == true, "\(String(describing: error))")
    }

    @Test func everyOptionIsCompared() throws {
        let name = channelName()
        let topic = try Topic<UInt64>.create(name, ChannelOptions(lifetime: .kept, capacity: 100_000))
        defer { try? Topic<UInt64>.remove(name) }
        // As large as what is asked for becomes.
        _ = try Topic<UInt64>.openOrCreate(name, ChannelOptions(capacity: 131_072))
        _ = try Topic<UInt64>.openOrCreate(
            name,
            ChannelOptions(
                writers: .exclusive, overflow: .block, lifetime: .kept, durability: ChannelOptions.Durability.none,
                capacity: 70_000, maximumReaders: 64, maximumWriters: 1, permissions: .ownerReadWrite,
                subscriberPermissions: []))
        let others: [(String, ChannelOptions)] = [
            ("writers", ChannelOptions(writers: .shared)), ("overflow", ChannelOptions(overflow: .overwrite)),
            ("lifetime", ChannelOptions(lifetime: .whileUsed)),
            ("durability", ChannelOptions(durability: .syncedWhenAsked)),
            ("capacity", ChannelOptions(capacity: 65_536)), ("maximumReaders", ChannelOptions(maximumReaders: 1)),
            ("maximumWriters", ChannelOptions(writers: .shared, maximumWriters: 2)),
            ("permissions", ChannelOptions(permissions: [.ownerReadWrite, .groupReadWrite])),
            ("subscriberPermissions", ChannelOptions(subscriberPermissions: [.groupReadWrite])),
        ]
        for (option, options) in others {
            let error = failure { () throws(IPCError) in _ = try Topic<UInt64>.openOrCreate(name, options) }
            #expect(error?.code == .incompatibleOptions && error?.advice.contains(option) == true, "\(option)")
        }
        let several = failure { () throws(IPCError) in
            _ = try Topic<UInt64>.openOrCreate(name, ChannelOptions(writers: .shared, capacity: 1 << 20))
        }
        #expect(several?.advice.contains("writers exclusive, capacity 131072") == true)
        #expect(several?.advice.contains("writers shared, capacity 1048576") == true)
        #expect(topic.name.description == name)
    }

    @Test(arguments: Kind.allCases) func anOpenerWaitsForItsCreator(kind: Kind) async throws {
        for isAsync in [false, true] {
            let name = channelName()
            defer { kind.remove(name) }
            let opener = Task {
                if isAsync { try await kind.openAsync(name, until: .after(.seconds(60))) }
            }
            let thread = try PlainThread { () throws(IPCError) in
                if !isAsync { try kind.open(name, until: .after(.seconds(60))) }
            }
            try await Task.sleep(for: .milliseconds(50))
            let start = ContinuousClock.now
            try kind.create(name)
            try await opener.value
            #expect(thread.join() == nil)
            #expect(ContinuousClock.now - start < .seconds(20))
        }
        // Cancelled, it ends at once.
        let waiting = Task { try await kind.openAsync(channelName(), until: .never) }
        try await Task.sleep(for: .milliseconds(20))
        waiting.cancel()
        await #expect(throws: IPCError.self) { try await waiting.value }
    }

    /// A process that is the only participant of a topic.
    private static func holder(of name: String) throws -> Peer {
        let topic = try Topic<RawBytes>.create(name, ChannelOptions(writers: .shared))
        let first = try topic.makePublisher()
        let peer = try Peer(product("ChannelPeer"), ["hold-publisher", name])
        _ = try peer.said()
        first.close()
        return peer
    }

    @Test func aChannelOfTheDeadIsAsGoodAsNone() throws {
        let name = channelName()
        let peer = try Self.holder(of: name)
        #expect(failure { () throws(IPCError) in _ = try Topic<RawBytes>.create(name) }?.code == .alreadyExists)
        try peer.kill()
        _ = try Topic<RawBytes>.create(name).makePublisher()
    }

    @Test func openersWaitForWhoeverReplacesTheDead() async throws {
        let name = channelName()
        try Self.holder(of: name).kill()
        // What is there is of the dead, and of another type.
        let opener = Task { try await Topic<UInt64>.open(name, until: .after(.seconds(60))) }
        let another = Task { try await Topic<RawBytes>.open(name, until: .after(.milliseconds(200))) }
        try await Task.sleep(for: .milliseconds(50))
        await #expect(throws: IPCError.self) { try await another.value }
        let publisher = try Topic<UInt64>.openOrCreate(name, ChannelOptions(capacity: 1 << 17)).makePublisher()
        #expect(try await opener.value.name.description == name)
        publisher.close()
    }

    @Test func aBackoffOfAnyDurationIsTheSameNextTime() throws {
        let name = channelName()
        defer { try? WorkQueue<UInt64>.remove(name) }
        let backoff = RetryBackoff.exponential(first: .seconds(0.07), limit: .seconds(1) / 3)
        for _ in 0..<2 { _ = try WorkQueue<UInt64>.openOrCreate(name, backoff: backoff) }
        let none = failure { () throws(IPCError) in
            _ = try WorkQueue<UInt64>.openOrCreate(channelName(), backoff: .fixed(.nanoseconds(1) / 2))
        }
        #expect(none?.code == .invalidArgument)
    }

    @Test func oneWriterAtATimeIsNotSeveral() {
        let error = failure { () throws(IPCError) in
            _ = try Topic<UInt64>.create(channelName(), ChannelOptions(maximumWriters: 5))
        }
        #expect(error?.code == .invalidArgument && error?.advice.contains("shared") == true)
    }

    @Test func whoeverCreatesTakesAwayWhatTheDeadLeft() throws {
        let names = (0..<3).map { _ in channelName() }
        // All before the first dies, since whoever creates one looks after the others.
        let first = try Self.holder(of: names[0])
        let second = try Self.holder(of: names[1])
        let third = try Self.holder(of: names[2])
        try first.kill()
        try second.kill()
        try third.kill()
        func left() throws -> [String] {
            try ChannelRoot.current.names().map(\.description).filter(names.contains)
        }
        #expect(try left().count == 3)
        let kept = try Topic<UInt64>.create(channelName(), ChannelOptions(lifetime: .kept))
        defer { try? Topic<UInt64>.remove(kept.name.description) }
        let used = try Topic<UInt64>.create(channelName()).makePublisher()
        let end = Deadline.after(.seconds(60))
        while try !left().isEmpty, !end.hasPassed { _ = try Topic<UInt64>.create(channelName()).makePublisher() }
        #expect(try left() == [])
        _ = try Topic<UInt64>.open(kept.name.description)
        used.close()
    }
}
