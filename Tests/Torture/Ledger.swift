import IPC
import Synchronization

/// What all participants of a round write down, in memory that outlives them.
///
/// `[header: 64 words | member: 64 words each | waits: 128 words | items: 65,536 words for all members]`
final class Ledger: Sendable {
    enum Header: Int {
        /// 0: go on; 1: writers end, but for the closer; 2: the closer writes the last items; 3: all is over.
        case phase
        case kills, lastKill
        case stopped, lastStopEnd
        /// When a reader last took an item, where one reader's item is no other's.
        case lastItem
        /// When a writer's item was last through.
        case lastWritten
        /// Counts what happens, to order it, and the greatest count at which a `set` began that has returned.
        case clock, known
        case endedReaders
        /// When all survivors had joined: before that they wait for each other's start.
        case allJoined
        /// A writer has used up its numbers.
        case full
        /// Of an event: how many notices were given, and taken.
        case given, taken
    }

    enum Field: Int {
        case state
        /// Items that were begun, and that are known to be through.
        case begun, done
        case checked, beat, isActive, go
        case joins, leaves, forks, execs, items
        case longWaits
    }

    enum State: UInt64 { case none, started, joined, ended, isAnotherProgram }

    static let itemsPerMember = 32_768
    static let longWaitsKept = 12
    static let buckets = 128
    private static let memberWords = 64
    private static let firstMember = 64 * 8
    private static let waits = firstMember + Plan.mostMembers * memberWords * 8
    private static let items = waits + buckets * 8
    static let byteCount = items + Plan.mostMembers * itemsPerMember * 4

    private let mapping: MemoryMapping

    init(creating name: String) throws(IPCError) {
        mapping = try SharedMemory.create(name, byteCount: Self.byteCount).map()
    }

    init(opening name: String) throws(IPCError) { mapping = try SharedMemory.open(name).map() }

    subscript(word: Header) -> UInt64 {
        get { load(word.rawValue * 8) }
        set { store(newValue, word.rawValue * 8) }
    }

    subscript(member: Int, field: Field) -> UInt64 {
        get { load(Self.offset(member, field)) }
        set { store(newValue, Self.offset(member, field)) }
    }

    /// - Returns: The new value.
    @discardableResult
    func add(_ word: Header, _ count: UInt64 = 1) -> UInt64 {
        mapping.withAtomic(UInt64.self, at: word.rawValue * 8) {
            $0.add(count, ordering: .sequentiallyConsistent).newValue
        }
    }

    func raise(_ word: Header, to value: UInt64) {
        mapping.withAtomic(UInt64.self, at: word.rawValue * 8) { _ = $0.max(value, ordering: .sequentiallyConsistent) }
    }

    /// - Returns: The value before.
    func exchange(_ word: Header, _ value: UInt64) -> UInt64 {
        mapping.withAtomic(UInt64.self, at: word.rawValue * 8) { $0.exchange(value, ordering: .sequentiallyConsistent) }
    }

    func count(_ member: Int, _ field: Field, _ count: UInt64 = 1) {
        mapping.withAtomic(UInt64.self, at: Self.offset(member, field)) {
            _ = $0.add(count, ordering: .sequentiallyConsistent)
        }
    }

    func state(_ member: Int) -> State { State(rawValue: self[member, .state]) ?? .none }

    // Items: a word for each number of each member, for jobs and calls.

    private func withItem<Result>(_ member: Int, _ number: Int, _ body: (borrowing Atomic<UInt32>) -> Result) -> Result
    {
        mapping.withAtomic(
            UInt32.self, at: Self.items + (member * Self.itemsPerMember + number % Self.itemsPerMember) * 4, body)
    }

    func item(_ member: Int, _ number: Int) -> UInt32 {
        withItem(member, number) { $0.load(ordering: .sequentiallyConsistent) }
    }

    /// - Returns: The bits before.
    @discardableResult
    func setBits(_ bits: UInt32, of member: Int, _ number: Int) -> UInt32 {
        withItem(member, number) { $0.bitwiseOr(bits, ordering: .sequentiallyConsistent).oldValue }
    }

    func clearBits(_ bits: UInt32, of member: Int, _ number: Int) {
        withItem(member, number) { _ = $0.bitwiseAnd(~bits, ordering: .sequentiallyConsistent) }
    }

    func setItem(_ member: Int, _ number: Int, to value: UInt32) {
        withItem(member, number) { $0.store(value, ordering: .sequentiallyConsistent) }
    }

    // Waits around a death.

    func countWait(_ bucket: Int) {
        mapping.withAtomic(UInt64.self, at: Self.waits + bucket * 8) { _ = $0.add(1, ordering: .relaxed) }
    }

    func waits(_ bucket: Int) -> UInt64 { load(Self.waits + bucket * 8) }

    func addLongWait(_ member: Int, from start: UInt64, to end: UInt64) {
        let index = Int(self[member, .longWaits])
        count(member, .longWaits)
        guard index < Self.longWaitsKept else { return }
        let offset = Self.offset(member, .longWaits) + 8 + index * 16
        store(start, offset)
        store(end, offset + 8)
    }

    func longWaits(_ member: Int) -> [(start: UInt64, end: UInt64)] {
        (0..<min(Int(self[member, .longWaits]), Self.longWaitsKept)).map { index in
            let offset = Self.offset(member, .longWaits) + 8 + index * 16
            return (load(offset), load(offset + 8))
        }
    }

    private static func offset(_ member: Int, _ field: Field) -> Int {
        firstMember + (member * memberWords + field.rawValue) * 8
    }

    private func load(_ offset: Int) -> UInt64 {
        mapping.withAtomic(UInt64.self, at: offset) { $0.load(ordering: .sequentiallyConsistent) }
    }

    private func store(_ value: UInt64, _ offset: Int) {
        mapping.withAtomic(UInt64.self, at: offset) { $0.store(value, ordering: .sequentiallyConsistent) }
    }
}
