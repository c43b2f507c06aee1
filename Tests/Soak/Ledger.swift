import Glibc
import IPC
import Synchronization

/// A job or a call: the number that its sender gave it in this round.
struct Item: Hashable {
    var member: Int
    var number: Int
}

/// What all participants note, in memory that outlives them. All words are written before or after what they tell of, never at the
/// same moment: which of the two is said where it is done, and whoever reads them knows that a death may lie between.
///
/// `[header: 64 words | member: 32 words each | jobs: 16 words each | calls: 8 words each]`
final class Ledger: Sendable {
    enum Header: Int {
        case round, phase
        /// Of participants: raised before one is killed, and when it is gone.
        case killsBegun, killsReaped
    }

    /// What is going on in a round.
    enum Phase: UInt64 {
        case traffic
        /// Nobody sends or calls any more, those who came for a while leave, and all that was sent is done.
        case drain
        /// The dead letters are collected.
        case letters
        /// All have left their channels.
        case idle
        /// There is no other round.
        case over
    }

    enum Field: Int {
        /// `State`.
        case state
        /// It hears SIGTERM.
        case isReady
        /// It sends nothing more in this round.
        case isQuiet
        /// It is through with so many rounds.
        case rounds
        /// How many it has begun to send in this round.
        case jobs, calls
    }

    enum State: UInt64 { case none, living, killed, ended }

    enum JobField: Int {
        /// `Sending`.
        case sending
        case queue
        /// By the wall clock, in nanoseconds; 0 for none: nobody may have it before; it may be a dead letter after; nobody may have it
        /// after.
        case earliest, expires, stale
        /// The member that has it, plus 1; 0 if nobody has.
        case holder
        /// How often it was handed out.
        case takes
        /// The highest attempt that was seen; which attempt is to come next, and by how much more it may be; and how many kills were
        /// reaped when that was noted, or the job was sent.
        case attempt, expected, slack, reaped
        /// How often it was about to be acknowledged, and was.
        case acknowledging, acknowledged
        /// How often it was about to be rejected.
        case rejected
        case letters
    }

    enum Sending: UInt64 { case none, begun, sent, failed }

    enum CallField: Int {
        /// `Outcome`.
        case outcome
        /// On the monotonic clock: when its caller gives up, and gave up.
        case deadline, cancelled
        case retries
        /// How many kills were reaped when it began.
        case reapedBefore
        /// How often a handler began it, and was about to release it.
        case served, released
    }

    static let members = 48
    static let items = 4096
    private static let (memberWords, jobWords, callWords) = (32, 16, 8)
    private static let firstMember = 64
    private static let firstJob = firstMember + members * memberWords
    private static let firstCall = firstJob + members * items * jobWords
    private static let words = firstCall + members * items * callWords

    private let mapping: MemoryMapping

    init(creating name: String) throws(IPCError) {
        mapping = try SharedMemory.create(name, byteCount: Self.words * 8).map()
    }

    init(opening name: String) throws(IPCError) { mapping = try SharedMemory.open(name).map() }

    var phase: Phase {
        get { Phase(rawValue: self[.phase]) ?? .over }
        set { self[.phase] = newValue.rawValue }
    }

    func state(_ member: Int) -> State { State(rawValue: self[member, .state]) ?? .none }

    /// Whether a process was killed that may have lived when `reaped` was read.
    func kills(since reaped: UInt64) -> UInt64 { self[.killsBegun] &- reaped }

    subscript(word: Header) -> UInt64 {
        get { load(word.rawValue) }
        set { store(newValue, word.rawValue) }
    }

    subscript(member: Int, field: Field) -> UInt64 {
        get { load(Self.index(member, field)) }
        set { store(newValue, Self.index(member, field)) }
    }

    subscript(job: Item, field: JobField) -> UInt64 {
        get { load(Self.index(job, field)) }
        set { store(newValue, Self.index(job, field)) }
    }

    subscript(call: Item, field: CallField) -> UInt64 {
        get { load(Self.index(call, field)) }
        set { store(newValue, Self.index(call, field)) }
    }

    func add(_ word: Header) { add(1, word.rawValue) }

    /// A note of a dead one that was found to be wrong.
    func takeBack(_ job: Item, _ field: JobField) { add(.max, Self.index(job, field)) }

    /// - Returns: The value before.
    @discardableResult
    func add(_ member: Int, _ field: Field) -> Int { Int(add(1, Self.index(member, field))) }

    @discardableResult
    func add(_ job: Item, _ field: JobField) -> UInt64 { add(1, Self.index(job, field)) }

    @discardableResult
    func add(_ call: Item, _ field: CallField) -> UInt64 { add(1, Self.index(call, field)) }

    /// - Returns: The value before.
    func exchange(_ job: Item, _ field: JobField, _ value: UInt64) -> UInt64 {
        withWord(Self.index(job, field)) { $0.exchange(value, ordering: .sequentiallyConsistent) }
    }

    /// The jobs that were begun in this round.
    var jobs: some Sequence<Item> { items(.jobs) }
    var calls: some Sequence<Item> { items(.calls) }

    private func items(_ field: Field) -> some Sequence<Item> {
        (0..<Self.members).lazy.flatMap { member in
            (0..<min(Int(self[member, field]), Self.items)).lazy.map { Item(member: member, number: $0) }
        }
    }

    /// Makes all of a round zero, but for the state of those that stay.
    func clear(keeping residents: Int) {
        for job in jobs { for word in 0..<Self.jobWords { store(0, Self.firstWord(ofJob: job) + word) } }
        for call in calls { for word in 0..<Self.callWords { store(0, Self.firstWord(ofCall: call) + word) } }
        for member in 0..<Self.members {
            for field in [Field.isQuiet, .jobs, .calls] { self[member, field] = 0 }
            if member >= residents { for field in [Field.state, .isReady] { self[member, field] = 0 } }
        }
    }

    private static func index(_ member: Int, _ field: Field) -> Int {
        firstMember + member * memberWords + field.rawValue
    }
    private static func index(_ job: Item, _ field: JobField) -> Int { firstWord(ofJob: job) + field.rawValue }
    private static func index(_ call: Item, _ field: CallField) -> Int { firstWord(ofCall: call) + field.rawValue }
    private static func firstWord(ofJob job: Item) -> Int { firstJob + (job.member * items + job.number) * jobWords }
    private static func firstWord(ofCall call: Item) -> Int {
        firstCall + (call.member * items + call.number) * callWords
    }

    private func withWord<Value>(_ index: Int, _ body: (borrowing Atomic<UInt64>) -> Value) -> Value {
        mapping.withAtomic(UInt64.self, at: index * 8, body)
    }

    private func load(_ index: Int) -> UInt64 { withWord(index) { $0.load(ordering: .sequentiallyConsistent) } }

    private func store(_ value: UInt64, _ index: Int) {
        withWord(index) { $0.store(value, ordering: .sequentiallyConsistent) }
    }

    @discardableResult
    private func add(_ count: UInt64, _ index: Int) -> UInt64 {
        withWord(index) { $0.wrappingAdd(count, ordering: .sequentiallyConsistent).oldValue }
    }
}

/// The wall clock, in nanoseconds: jobs are due by it.
func wallClock() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
