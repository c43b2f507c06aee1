import IPC
import IPCChannels

/// The queues of a run: each has a policy of its own, and its dead letters another fate.
enum Queue: Int, CaseIterable {
    /// Its letters are collected as they come.
    case collected
    /// Its letters are sent back, while there is traffic.
    case redriven
    /// Nobody looks at its letters before the end of a round, so that they fill up.
    case full

    var name: String { "soak/\(self)" }

    var attempts: Int {
        switch self {
        case .collected: 3
        case .redriven: 4
        case .full: 2
        }
    }

    private var backoff: RetryBackoff {
        switch self {
        case .collected: .none
        case .redriven: .fixed(.milliseconds(5))
        case .full: .exponential(first: .milliseconds(2), limit: .milliseconds(40))
        }
    }

    /// Whether there is one copy of each job only. Who sends a letter back and dies may leave it where it was, too.
    var isStrict: Bool { self != .redriven }

    func create() throws(IPCError) -> WorkQueue<RawBytes> {
        let options = ChannelOptions(
            writers: .shared, lifetime: .kept, capacity: 65_536, maximumReaders: 96, maximumWriters: 96)
        return try WorkQueue<RawBytes>.openOrCreate(name, options, maximumAttempts: attempts, backoff: backoff)
    }

    func open() throws(IPCError) -> WorkQueue<RawBytes> { try WorkQueue<RawBytes>.open(name) }

    func remove() throws(IPCError) {
        try WorkQueue<RawBytes>.remove(name)
        try WorkQueue<RawBytes>.remove(name + "/dead-letters")
    }
}

/// The service of a run.
enum Answering {
    typealias Kind = ServiceChannel<Ask, Answer, Refusal>
    static let name = "soak/answers"

    static func create() throws(IPCError) -> Kind {
        var options = ServiceOptions()
        (options.capacity, options.lifetime, options.maximumServers, options.maximumClients) = (65_536, .kept, 96, 96)
        return try Kind.openOrCreate(name, options)
    }

    static func open() throws(IPCError) -> Kind { try Kind.open(name) }
}

/// How long what happens may take, in nanoseconds, beside the noise of the machine.
enum Limits {
    /// The end of a call after its deadline, or after it was cancelled; the cancellation of its handler; the end of a loop that was
    /// cancelled.
    static let grace: UInt64 = 1_000_000_000
    /// The end of a process that was asked to end: a call that blocks lasts for a second at most, and whoever joins or leaves a channel
    /// may have to wait for others that are stopped meanwhile.
    static let shutdown: UInt64 = 3_000_000_000
    /// The longest stop of a participant.
    static let stop: UInt64 = 200_000_000
    /// After the last job was sent, until all are done; after that, until the letters are collected; and for everything else that is
    /// waited for at the end of a round.
    static let drain: UInt64 = 6_000_000_000
    /// How much later than its last moment a job with a time to live may be begun: it was taken before.
    static let stale: UInt64 = 50_000_000
}
