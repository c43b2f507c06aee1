import CBaselines
import IPC
import IPCChannels

/// Two work queues, one for each direction; each message is acknowledged when it was read.
struct WorkQueueLink: Link, ~Copyable {
    var producer: Producer<RawBytes>
    var worker: IPCChannels.Worker<RawBytes>
    let buffer: MessageBuffer
    var progress = LinkProgress()

    init(
        producer: consuming Producer<RawBytes>, worker: consuming IPCChannels.Worker<RawBytes>,
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
typealias BenchService = Service<RawBytes, RawBytes, BenchFailure>

/// The caller: a round trip is a call, and a stream has as many calls under way as there is room for.
struct ClientLink: Link, ~Copyable {
    var client: Client<RawBytes, RawBytes, BenchFailure>
    let buffer: MessageBuffer
    /// As many as half of the log has room for, at most 64; used in turn.
    private let calls: [PendingBox]
    private var begun = 0
    private var ended = 0
    var progress = LinkProgress()

    init(client: consuming Client<RawBytes, RawBytes, BenchFailure>, buffer: consuming MessageBuffer) {
        self.client = client
        let depth = min(64, TopicLink.capacity(buffer.byteCount, .service) / (2 * buffer.byteCount + 256) / 2)
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
    var server: Server<RawBytes, RawBytes, BenchFailure>
    let buffer: MessageBuffer
    private var call: Call<RawBytes, RawBytes, BenchFailure>?
    private var repliesAtOnce = false
    var progress = LinkProgress()

    init(server: consuming Server<RawBytes, RawBytes, BenchFailure>, buffer: consuming MessageBuffer) {
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
    var setter: LatestSetter<RawBytes>
    var getter: LatestGetter<RawBytes>
    let size: Int
    var progress = LinkProgress()

    init(setter: consuming LatestSetter<RawBytes>, getter: consuming LatestGetter<RawBytes>, size: Int) {
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
    let outgoing: EventParticipant
    let incoming: EventParticipant
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
