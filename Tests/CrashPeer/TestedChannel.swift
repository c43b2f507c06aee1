import IPC
import IPCChannels
import SystemPackage

/// One of the durable channels, in a folder on the disk of the virtual machine.
struct TestedChannel {
    let name: String
    let options: ChannelOptions

    static let root = ChannelRoot("/disk/channels")

    /// One of each kind of writers and durability. Small logs, so that all go round many times.
    static let topics = [
        TestedChannel("alone", .exclusive, .syncedWhenAsked, 131_072),
        TestedChannel("shared", .shared, .syncedWhenAsked, 131_072),
        TestedChannel("each", .shared, .syncedEachMessage, 65_536),
        TestedChannel("every", .exclusive, .syncedEvery(bytes: everyBytes), 65_536, .overwrite),
    ]
    static let jobs = TestedChannel("jobs", .shared, .syncedWhenAsked, 131_072)
    static let everyBytes = 5000
    static let writers: ClosedRange<UInt64> = 1...3

    private init(
        _ name: String, _ writers: ChannelOptions.Writers, _ durability: ChannelOptions.Durability, _ capacity: Int,
        _ overflow: ChannelOptions.Overflow = .block
    ) {
        self.name = name
        options = ChannelOptions(
            writers: writers, overflow: overflow, lifetime: .kept, durability: durability, capacity: capacity,
            maximumReaders: 8, maximumWriters: writers == .shared ? 8 : nil)
    }

    static func named(_ name: String) throws(IPCError) -> TestedChannel {
        guard let channel = topics.first(where: { $0.name == name }) else {
            throw IPCError(
                .invalidArgument, "CrashPeer", name,
                advice: "there is no such channel; use one of \(topics.map(\.name))")
        }
        return channel
    }

    /// The topic, created if a crash came before its creation was over.
    func topic() throws(IPCError) -> Topic<RawBytes> { try .openOrCreate(name, in: Self.root, options) }

    /// The queue. Whatever dies, no job fails: all are handed out again.
    func queue() throws(IPCError) -> WorkQueue<RawBytes> {
        try .openOrCreate(name, in: Self.root, options, maximumAttempts: 32_766)
    }

    /// At most this much is written without a sync by one writer: a crash then costs less than half of the log, what was
    /// reserved ahead included.
    var unsyncedLimit: Int { options.capacity! / 8 }
    /// A log that has fewer bytes than this in it after a crash has not lost any for want of room.
    var keptAtLeast: Int { options.capacity! / 4 }
}
