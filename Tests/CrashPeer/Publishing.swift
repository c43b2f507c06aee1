import Glibc
import IPC
import IPCChannels
import Synchronization

/// How many messages each writer of each channel has published in this epoch, in shared memory: told by the writer when
/// `publish` has returned.
struct Counts: ~Copyable {
    private static let memory = "crash-counts"
    private let mapping: MemoryMapping
    private let offset: Int

    static func create() throws(IPCError) { _ = try SharedMemory.create(memory, byteCount: 4096) }

    init(_ channel: TestedChannel) throws(IPCError) {
        mapping = try SharedMemory.open(Self.memory).map()
        let index = TestedChannel.topics.firstIndex { $0.name == channel.name } ?? TestedChannel.topics.count
        offset = index * 64
    }

    /// In the order of the writers' numbers.
    var all: [UInt64] {
        TestedChannel.writers.map { writer in
            mapping.withAtomic(UInt64.self, at: offset + Int(writer) * 8) { $0.load(ordering: .acquiring) }
        }
    }

    func set(_ writer: UInt64, _ count: UInt64) {
        mapping.withAtomic(UInt64.self, at: offset + Int(writer) * 8) { $0.store(count, ordering: .releasing) }
    }
}

/// One writer of a topic, until the machine crashes.
struct Publishing: ~Copyable {
    private let channel: TestedChannel
    private let writer: UInt64
    private let epoch: UInt64
    private var random: SplitMix
    private let counts: Counts
    private var publisher: Topic<RawBytes>.Publisher
    private var number: UInt64 = 0
    /// Bytes in the log since the last sync of ours.
    private var unsynced = 0

    init(_ channel: TestedChannel, writer: UInt64, epoch: UInt64, seed: UInt64) throws(IPCError) {
        let counts = try Counts(channel)
        let publisher = try channel.topic().makePublisher()
        self.channel = channel
        self.writer = writer
        self.epoch = epoch
        random = SplitMix(seed &+ epoch << 32 &+ writer)
        self.counts = counts
        self.publisher = publisher
    }

    mutating func run() throws(IPCError) {
        switch channel.options.durability! {
        case .none, .syncedWhenAsked: while true { try publishAndSync() }
        case .syncedEvery(1):
            while true {
                _ = try publishOne()
                Report.synced(channel.name, epoch, writer, number)
            }
        case .syncedEvery(let bytes): try publishSynced(every: bytes)
        }
    }

    /// - Returns: Bytes of the message.
    private mutating func publishOne() throws(IPCError) -> Int {
        let size = random.size()
        let message = Message(.init(epoch: epoch, writer: writer, number: number), counts.all)
        try publisher.publish(message.bytes(size).span.bytes, until: .after(.seconds(60)))
        number += 1
        counts.set(writer, number)
        unsynced += size + 128
        return size
    }

    private mutating func publishAndSync() throws(IPCError) {
        var left = Int.random(in: 1...40, using: &random)
        while left > 0, unsynced + 6128 < channel.unsyncedLimit {
            _ = try publishOne()
            left -= 1
        }
        try Self.syncAndTell(&publisher, channel, epoch, counts)
        unsynced = 0
    }

    /// Each message is on the disk when so many bytes were published after it.
    private mutating func publishSynced(every bytes: Int) throws(IPCError) {
        var sizes: [Int] = []  // of those that are not known to be synced
        var told: UInt64 = 0
        while true {
            sizes.append(try publishOne())
            var after = sizes.reduce(0, +)
            while let first = sizes.first, after - first >= bytes {
                after -= first
                sizes.removeFirst()
            }
            let synced = number - UInt64(sizes.count)
            if synced >= told + 8 {
                told = synced
                Report.synced(channel.name, epoch, writer, synced)
            }
        }
    }

    /// A publisher that publishes nothing, and syncs what the others do.
    static func syncOnly(_ channel: TestedChannel, epoch: UInt64, seed: UInt64) throws(IPCError) {
        var random = SplitMix(seed &+ epoch)
        var publisher = try channel.topic().makePublisher()
        let counts = try Counts(channel)
        while true {
            try syncAndTell(&publisher, channel, epoch, counts)
            usleep(UInt32.random(in: 0..<50_000, using: &random))
        }
    }

    /// What was published by anybody before the sync is on the disk after it.
    private static func syncAndTell(
        _ publisher: inout Topic<RawBytes>.Publisher, _ channel: TestedChannel, _ epoch: UInt64,
        _ counts: borrowing Counts
    ) throws(IPCError) {
        let published = counts.all
        try publisher.sync()
        for (writer, count) in zip(TestedChannel.writers, published) where count > 0 {
            Report.synced(channel.name, epoch, writer, count)
        }
    }
}
