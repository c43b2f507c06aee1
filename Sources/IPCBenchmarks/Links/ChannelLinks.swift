import CBaselines
import IPC
import IPCChannels

/// Two work queues, one for each direction; each message is acknowledged when it was read.
struct WorkQueueLink: Link, ~Copyable {
    var producer: WorkQueue<RawBytes>.Producer
    var worker: WorkQueue<RawBytes>.Worker
    let buffer: MessageBuffer
    var progress = LinkProgress()

    init(
        producer: consuming WorkQueue<RawBytes>.Producer, worker: consuming WorkQueue<RawBytes>.Worker,
        buffer: consuming MessageBuffer
    ) {
        self.producer = producer
        self.worker = worker
        self.buffer = buffer
    }

    mutating func send(_ index: UInt64) throws(IPCError) {
        unsafe cb_fill(buffer.base, buffer.byteCount, index)
        try producer.send(unsafe RawSpan(_unsafeStart: buffer.base, byteCount: buffer.byteCount))
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        let job = try worker.next()
        let index = try job.withBytes { (bytes) throws(IPCError) in bytes.index }
        try job.acknowledge()
        return index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        unsafe cb_fill(buffer.base, buffer.byteCount, index)
        try await producer.send(unsafe RawSpan(_unsafeStart: buffer.base, byteCount: buffer.byteCount))
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        let job = try await worker.next()
        let index = try job.withBytes { (bytes) throws(IPCError) in bytes.index }
        try job.acknowledge()
        return index
    }
}

struct BenchFailure: Error, BitwiseCopyable {}
typealias BenchService = ServiceChannel<RawBytes, RawBytes, BenchFailure>

/// The caller: a round trip is a call, and a stream has as many calls under way as there is room for.
struct ClientLink: Link, ~Copyable {
    var client: ServiceChannel<RawBytes, RawBytes, BenchFailure>.Client
    let buffer: MessageBuffer
    /// As many as one client may have that are not ended, at most 64; used in turn. With one more, it would wait for itself.
    private let calls: [PendingBox]
    private var begun = 0
    private var ended = 0
    var progress = LinkProgress()

    init(client: consuming ServiceChannel<RawBytes, RawBytes, BenchFailure>.Client, buffer: consuming MessageBuffer) {
        self.client = client
        let share = TopicLink.capacity(buffer.byteCount, .service) / 4
        let depth = max(1, min(64, share / (2 * buffer.byteCount + 256)))
        self.buffer = buffer
        calls = (0..<depth).map { _ in PendingBox() }
    }

    mutating func send(_ index: UInt64) throws(IPCError) {
        if begun - ended == calls.count { _ = try receive() }
        unsafe cb_fill(buffer.base, buffer.byteCount, index)
        let request = unsafe RawSpan(_unsafeStart: buffer.base, byteCount: buffer.byteCount)
        calls[begun % calls.count].call = try client.begin(request, replyLimit: buffer.byteCount)
        begun += 1
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        let call = nextToEnd()
        let index = try call.wait { (bytes) throws(IPCError) in bytes.byteCount == 0 ? 0 : bytes.index }
        return try? index.get()
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        if begun - ended == calls.count { _ = try await receive() }
        unsafe cb_fill(buffer.base, buffer.byteCount, index)
        let request = unsafe RawSpan(_unsafeStart: buffer.base, byteCount: buffer.byteCount)
        calls[begun % calls.count].call = try await client.begin(request, replyLimit: buffer.byteCount)
        begun += 1
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        let call = nextToEnd()
        let index = try await call.wait { (bytes) throws(IPCError) in
            bytes.byteCount == 0 ? 0 : bytes.index
        }
        return try? index.get()
    }

    mutating func endStream() throws(IPCError) { while ended < begun { _ = try receive() } }

    private mutating func nextToEnd() -> PendingCall<RawBytes, BenchFailure> {
        defer { ended += 1 }
        return calls[ended % calls.count].call.take()!
    }

    /// Arrays hold no values that cannot be copied.
    private final class PendingBox {
        var call: PendingCall<RawBytes, BenchFailure>?
    }
}

/// The server: it answers with a payload in a round trip, and with nothing in a stream.
struct ServerLink: Link, ~Copyable {
    var server: ServiceChannel<RawBytes, RawBytes, BenchFailure>.Server
    let buffer: MessageBuffer
    private var call: ServiceChannel<RawBytes, RawBytes, BenchFailure>.Call?
    private var repliesAtOnce = false
    var progress = LinkProgress()

    init(server: consuming ServiceChannel<RawBytes, RawBytes, BenchFailure>.Server, buffer: consuming MessageBuffer) {
        self.server = server
        self.buffer = buffer
        call = nil
    }

    mutating func prepare(forStream: Bool) throws(IPCError) { repliesAtOnce = forStream }

    mutating func send(_ index: UInt64) throws(IPCError) {
        unsafe cb_fill(buffer.base, buffer.byteCount, index)
        try call.take()?.reply(unsafe RawSpan(_unsafeStart: buffer.base, byteCount: buffer.byteCount))
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        let next = try server.next()
        let index = try next.withRequest { (bytes) throws(IPCError) in bytes.index }
        if repliesAtOnce { try next.reply(RawSpan()) } else { call = consume next }
        return index
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        unsafe cb_fill(buffer.base, buffer.byteCount, index)
        try call.take()?.reply(unsafe RawSpan(_unsafeStart: buffer.base, byteCount: buffer.byteCount))
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        let next = try await server.next()
        let index = try next.withRequest { (bytes) throws(IPCError) in bytes.index }
        if repliesAtOnce { try next.reply(RawSpan()) } else { call = consume next }
        return index
    }
}

/// Two latest values, one for each direction.
struct LatestLink: Link, ~Copyable {
    var setter: Latest<RawBytes>.Setter
    var getter: Latest<RawBytes>.Getter
    let size: Int
    var progress = LinkProgress()

    init(setter: consuming Latest<RawBytes>.Setter, getter: consuming Latest<RawBytes>.Getter, size: Int) {
        self.setter = setter
        self.getter = getter
        self.size = size
    }

    mutating func send(_ index: UInt64) throws(IPCError) {
        try setter.set(upTo: size) { (frame) throws(IPCError) in frame.fill(index, size) }
    }

    mutating func receive() throws(IPCError) -> UInt64? {
        try getter.next { (bytes) throws(IPCError) in bytes.index }
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) {
        try setter.set(upTo: size) { (frame) throws(IPCError) in frame.fill(index, size) }
    }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        try await getter.next { (bytes) throws(IPCError) in bytes.index }
    }
}

/// Two events, one for each direction; they carry no index, so the receiver counts.
struct ChannelEventLink: Link, ~Copyable {
    let outgoing: Event.Participant
    let incoming: Event.Participant
    var progress = LinkProgress()

    mutating func send(_ index: UInt64) throws(IPCError) { outgoing.notify() }

    mutating func receive() throws(IPCError) -> UInt64? {
        try incoming.wait()
        defer { progress.received += 1 }
        return progress.received
    }

    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError) { outgoing.notify() }

    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64? {
        try await incoming.wait()
        defer { progress.received += 1 }
        return progress.received
    }
}

extension RawSpan {
    /// The index of a payload, after reading all of it.
    @inline(__always)
    var index: UInt64 {
        unsafe withUnsafeBytes { bytes in unsafe bytes.count < 8 ? .max : cb_check(bytes.baseAddress!, bytes.count) }
    }
}

extension OutputRawSpan {
    /// Fills the payload in place.
    @inline(__always)
    mutating func fill(_ index: UInt64, _ count: Int) {
        unsafe withUnsafeMutableBytes { buffer, filled in
            unsafe cb_fill(buffer.baseAddress!, count, index)
            filled = buffer.count
        }
    }
}
