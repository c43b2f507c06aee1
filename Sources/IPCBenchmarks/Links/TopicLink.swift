import CBaselines
import IPC
import IPCChannels

/// Two topics, one for each direction. The payload is filled and read in the log itself.
struct TopicLink: Link, ~Copyable {
    var publisher: Topic<RawBytes>.Publisher
    var subscription: Topic<RawBytes>.Subscription
    let size: Int
    /// How many bytes of each payload are written and read.
    let touched: Int
    /// Bytes of a log for messages of this size: more than a core's own cache holds, and few enough for the one that cores
    /// share; with room for some payloads that are moved, so that neither side waits for the other; with more for those that
    /// are not moved, so that the writer seldom has to look for room, and for calls, which have room for the reply.
    ///
    /// - Parameter log: As many at least.
    static func capacity(_ size: Int, _ mechanism: Mechanism, log: Int = 0) -> Int {
        let needed = max(log, ([.topicZeroCopy, .service].contains(mechanism) ? 32 : 8) * size)
        var capacity = 1 << 22
        while capacity < needed { capacity *= 2 }
        return capacity
    }

    var progress = LinkProgress()

    init(
        publisher: consuming Topic<RawBytes>.Publisher, subscription: consuming Topic<RawBytes>.Subscription, size: Int,
        touched: Int
    ) {
        self.publisher = publisher
        self.subscription = subscription
        self.size = size
        self.touched = touched
    }

    @inline(__always)
    mutating func send(_ index: UInt64) throws(IPCError) {
        let touched = touched
        try publisher.publish(upTo: size) { (frame) throws(IPCError) in
            frame.fill(index, touched)
        }
    }

    @inline(__always)
    mutating func receive() throws(IPCError) -> UInt64? {
        let touched = touched
        return try subscription.receive { (payload) throws(IPCError) in
            payload.extracting(first: touched).index
        }
    }

    @inline(__always)
    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        let touched = touched
        try await publisher.publish(upTo: size) { (frame) throws(IPCError) in frame.fill(index, touched) }
    }

    @inline(__always)
    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        let touched = touched
        return try await subscription.receive { (payload) throws(IPCError) in payload.extracting(first: touched).index }
    }

    /// The loops that are compared, once more: through a protocol, Swift 6.3 takes some 15 ns for an asynchronous call, which
    /// are not the topic's. A program that calls it directly, as these do, has the call inlined.
    nonisolated(nonsending) mutating func run(_ round: AsyncRound) async throws(IPCError) -> AsyncRound.Outcome {
        var outcome = AsyncRound.Outcome()
        let command = round.command
        switch command.action {
        case .ping:
            for i in 0..<command.count {
                let start = cb_now()
                try await send(i)
                _ = try await Loops.checked(receive())
                unsafe round.samples.pointer[Int(i)] = cb_now() - start
            }
        case .echo:
            for i in 0..<command.count {
                _ = try await Loops.checked(receive())
                try await send(i)
            }
        case .consume:
            var first: UInt64 = 0
            for i in 0..<command.count {
                _ = try await Loops.checked(receive())
                if i == 0 { first = cb_now() }
            }
            outcome.elapsed = cb_now() - first
            outcome.received = command.count
        case .produce:
            for i in 0..<command.count { try await send(i) }
        default: return try await Loops.run(&self, round)
        }
        return outcome
    }
}
