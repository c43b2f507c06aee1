import IPC
import Synchronization

/// Work that is set aside: the head may pass it although it is not done, and writers skip its place.
///
/// So work that is held does not block the log space behind it, and returned work is found without a scan of the log. An entry
/// in `control` records the position of such work; bit 27 of its word marks that it has an entry. The position is written
/// before the bit is set, and the bit is set before the head passes the work. So a writer that loads the head, and then the
/// entries, sees every place that it must skip. The process that makes the work done removes its entry.
///
/// A process that changes an entry first makes itself its owner. So an entry that a dead process left unfinished is identified
/// by its slot.
extension ChannelMemory {
    private typealias Entry = LogLayout.Aside

    var asideCount: Int { Entry.count(capacity: capacity) }
    var usedAside: SharedUInt64 { word(LogLayout.usedAside) }
    /// Counts returned work that has no entry: a taker that has passed it starts at the head again.
    var unlistedReturns: SharedUInt64 { word(LogLayout.unlistedReturns) }

    func aside(_ entry: Int, _ field: Int) -> SharedUInt64 {
        let start = LogLayout.aside(readerSlots: readerSlots, writerSlots: writerSlots)
        return word(start + entry * Entry.size + field)
    }

    /// The entries that were ever used.
    var asideEntries: Range<Int> { 0..<Int(min(UInt64(asideCount), usedAside.ordered)) }

    /// How many bytes of the log may be set aside: few enough that one skipped frame can span adjacent places.
    var maximumAside: UInt64 { maximumFrame / 2 * 3 }

    /// The position in an entry; nil if the entry is free or invalid.
    func asidePosition(_ entry: Int) -> UInt64? {
        let word = aside(entry, Entry.position).ordered
        guard word & 1 != 0, LogLayout.Frame.isAligned(word - 1), word < LogLayout.farthest else { return nil }
        return word - 1
    }

    private func asideSize(_ entry: Int) -> UInt64 {
        LogLayout.Frame.aligned(min(aside(entry, Entry.byteCount).relaxed, maximumFrame))
    }

    /// The owner value of this process's entries.
    private var ownCode: UInt64 {
        ownSlot.map { UInt64(LogLayout.LockByte.participant($0.role, $0.slot)) } ?? UInt64(LogLayout.LockByte.reader(0))
    }

    // MARK: Entries

    /// Creates an entry for the frame at `position`. This process owns it until ``stand(_:at:)`` or ``drop(_:)``.
    ///
    /// - Returns: Nil if no entry is left, or too much is set aside already.
    func enter(_ position: UInt64, byteCount: UInt64, due: UInt64 = 0) throws(IPCError) -> Int? {
        var (sum, free) = (byteCount, Int?.none)
        for entry in asideEntries {
            if asidePosition(entry) != nil {
                sum &+= asideSize(entry)
            } else if free == nil, aside(entry, Entry.owner).exchange(0, for: ownCode).exchanged {
                free = entry
            }
        }
        var next = asideEntries.upperBound
        while free == nil, next < asideCount {
            // Raised before this process owns the entry: its recovery looks at the entries only if one was ever used.
            usedAside.raise(to: UInt64(next + 1))
            if aside(next, Entry.owner).exchange(0, for: ownCode).exchanged { free = next }
            next += 1
        }
        guard let free else { return nil }
        KillPoint.reach(.asideOwned)
        guard sum <= maximumAside else {
            aside(free, Entry.owner).ordered = 0
            return nil
        }
        aside(free, Entry.byteCount).relaxed = byteCount
        aside(free, Entry.due).relaxed = due
        aside(free, Entry.position).ordered = position | 1
        // On disk before the head can be: otherwise a crash of the machine could leave the head without the entry.
        if isDurable {
            do throws(IPCError) { try syncAside() } catch {
                drop(free)
                throw error
            }
        }
        KillPoint.reach(.asideEntered)
        return free
    }

    /// Marks the entry as valid, once the work has its bit.
    func stand(_ entry: Int, at position: UInt64) {
        aside(entry, Entry.owner).ordered = Entry.stands
        // A pair: the process that makes the work done exchanges its word, and then looks at the owner. This one stores the
        // owner, and then looks at the word. All of it is sequentially consistent, so one of them removes the entry.
        if isDone(position) { leave(position) }
    }

    /// Frees the entry: its work has no bit, or is done.
    func drop(_ entry: Int) {
        aside(entry, Entry.position).ordered = 0
        aside(entry, Entry.owner).ordered = 0
    }

    /// Removes the entry of work that is done, and lets writers use its place.
    func leave(_ position: UInt64) {
        for entry in asideEntries where aside(entry, Entry.position).ordered == position | 1 {
            takeAway(entry, position)
        }
        if waitingWriters.mayHaveWaiters { waitingWriters.wake(self) }
    }

    private func takeAway(_ entry: Int, _ position: UInt64) {
        guard aside(entry, Entry.owner).exchange(Entry.stands, for: ownCode).exchanged else { return }
        KillPoint.reach(.asideLeft)
        // The entry may have been removed and reused by now.
        if aside(entry, Entry.position).ordered == position | 1, isDone(position) {
            drop(entry)
        } else {
            aside(entry, Entry.owner).ordered = Entry.stands
        }
    }

    /// Whether the work at `position` is done, or was replaced by another frame.
    private func isDone(_ position: UInt64) -> Bool {
        guard isCommitted(position) else { return true }
        // An abandoned frame contains whatever its writer had written.
        let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
        guard header.isMessage else { return true }
        let state = Work.State(word: workState(at: position).ordered)
        return state.stage == Work.Stage.done || !state.isOf(lap: workLap(at: position))
    }

    /// Waits until the entries are on disk.
    func syncAside() throws(IPCError) {
        let start = LogLayout.aside(readerSlots: readerSlots, writerSlots: writerSlots)
        unsafe try Self.sync(word(start).pointer, asideCount * LogLayout.Aside.size, name)
    }

    // MARK: Work

    /// Returns work that a participant has: exchanges `state` for `next`.
    ///
    /// - Parameters:
    ///   - size: The size of its frame in bytes.
    ///   - due: The earliest redelivery, by the wall clock. Has no effect if no entry is left for the work.
    /// - Returns: As an exchange of its word.
    func handBack(
        _ position: UInt64, _ size: UInt64, _ state: Work.State, as next: Work.State, due: UInt64 = 0
    ) -> (exchanged: Bool, original: UInt64) {
        let word = workState(at: position)
        if state.isAside {
            // Ours alone while we have the work.
            for entry in asideEntries where aside(entry, Entry.position).ordered == position | 1 {
                aside(entry, Entry.due).relaxed = due
            }
            return word.exchange(state.word, for: next.aside.word)
        }
        let entry = (try? enter(position, byteCount: size, due: due)) ?? nil
        let result = word.exchange(state.word, for: entry == nil ? next.word : next.aside.word)
        KillPoint.reach(.asideMarked)
        if let entry {
            result.exchanged ? stand(entry, at: position) : drop(entry)
        } else if result.exchanged {
            unlistedReturns.add(1)
        }
        return result
    }

    /// Sets aside work that is taken, or whose reply is not collected.
    ///
    /// - Returns: Whether the head can pass it now.
    private func setAside(_ position: UInt64, _ size: UInt64) throws(IPCError) -> Bool {
        guard let entry = try enter(position, byteCount: size) else { return false }
        let word = workState(at: position)
        var state = Work.State(word: word.ordered)
        for _ in 0..<Work.attempts {
            let isHeld = state.stage != Work.Stage.done && state.stage != Work.Stage.available
            guard isHeld, !state.isAside, state.isOf(lap: workLap(at: position)) else { break }
            let (isOurs, found) = word.exchange(state.word, for: state.aside.word)
            if isOurs {
                KillPoint.reach(.asideMarked)
                stand(entry, at: position)
                return true
            }
            state = Work.State(word: found)
        }
        drop(entry)
        return state.stage == Work.Stage.done || state.isAside
    }

    /// Sets aside the work held at the head, if enough is done behind it. Called by a writer that finds no room, or when work
    /// is done and a writer may wait.
    ///
    /// - Returns: Whether the head moved.
    @discardableResult
    func passHeldWork() throws(IPCError) -> Bool {
        sweepAside()
        var held: [(position: UInt64, size: UInt64)] = []
        var (position, passed): (UInt64, UInt64) = (0, 0)
        for _ in 0..<frameLimit {
            guard passed < UInt64(capacity) / 8, held.count <= asideCount, let header = try workFrame(at: &position)
            else { break }
            let state = Work.State(word: header.isMessage ? workState(at: position).ordered : 0)
            if !header.isMessage || state.stage == Work.Stage.done || state.isAside {
                passed &+= header.size
            } else {
                // The rest waits for a free worker; setting held work aside does not help.
                guard state.stage != Work.Stage.available else { break }
                held.append((position, header.size))
            }
            position &+= header.size
        }
        guard passed >= UInt64(capacity) / 8 else { return false }
        for (position, size) in held {
            guard try setAside(position, size) else { break }
        }
        return try advanceWorkHead()
    }

    /// Removes the entries of work that is done: the process that finished it died or was stopped before it could.
    private func sweepAside() {
        for entry in asideEntries {
            if let position = asidePosition(entry), isDone(position) { takeAway(entry, position) }
        }
    }

    /// Settles the entries that a dead participant was changing.
    func settleAside(of role: Membership.Role, _ slot: Int) {
        let code = UInt64(LogLayout.LockByte.participant(role, slot))
        for entry in 0..<asideCount where aside(entry, Entry.owner).ordered == code {
            if let position = asidePosition(entry), !isDone(position),
                Work.State(word: workState(at: position).ordered).isAside
            {
                stand(entry, at: position)
            } else {
                drop(entry)
            }
        }
        sweepAside()
    }

    /// Visits all messages that are set aside.
    func scanAside<Failure>(_ body: (FrameHeader, UInt64) throws(Failure) -> Void) throws(Failure) {
        for entry in asideEntries {
            guard let position = asidePosition(entry), let header = asideFrame(entry, position) else { continue }
            try body(header, position)
        }
    }

    /// The header of work that is set aside; nil if it is done by now, or is not work.
    func asideFrame(_ entry: Int, _ position: UInt64) -> FrameHeader? {
        guard isCommitted(position) else { return nil }
        let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
        // The frame is not overwritten while its entry exists, so what was read belongs to this frame.
        atomicMemoryFence(ordering: .acquiring)
        guard aside(entry, Entry.position).relaxed == position | 1, header.isValid(upTo: maximumFrame),
            header.isMessage, header.length >= UInt32(Work.prefixSize)
        else { return nil }
        return header
    }

    /// The process that has the work at the head; nil if it is not taken.
    var holderOfOldest: UInt32? {
        var position: UInt64 = 0
        guard let header = try? workFrame(at: &position), header.isMessage else { return nil }
        let state = Work.State(word: workState(at: position).published)
        guard state.stage == Work.Stage.taken, state.slot < readerSlots else { return nil }
        return process(.reader, state.slot).relaxed
    }

    // MARK: Room

    /// A place that writers skip.
    private struct Island {
        let start: UInt64
        let end: UInt64
    }

    /// The end of the room for writers from `start` on: one log beyond the head, or the next place to skip. Always leaves room
    /// for a frame header before that place.
    func workRoomEnd(from start: UInt64, _ seeker: RoomSeeker) -> UInt64 {
        // The head is loaded before the entries: so everything that it has passed has a visible entry.
        let head = workHead.ordered
        var end = head &+ UInt64(capacity)
        let sum = visitIslands(from: start, head) { island in end = min(end, island.start) }
        return min(end &- UInt64(LogLayout.Frame.alignment), bound(head, sum, seeker))
    }

    /// Visits the places that the head has passed, at the positions where they recur from `start` on.
    ///
    /// - Returns: Their size in bytes.
    private func visitIslands(from start: UInt64, _ head: UInt64, _ visit: (Island) -> Void) -> UInt64 {
        var sum: UInt64 = 0
        for entry in asideEntries {
            guard let position = asidePosition(entry), position < head else { continue }
            let (next, size) = (start &+ ((position &- start) & mask), asideSize(entry))
            visit(Island(start: next, end: next &+ size))
            sum &+= size
        }
        return sum
    }

    /// The furthest position for a writer, with `aside` bytes set aside.
    private func bound(_ head: UInt64, _ aside: UInt64, _ seeker: RoomSeeker) -> UInt64 {
        let all = UInt64(capacity)
        let bound = head &+ all &- UInt64(LogLayout.Frame.alignment)
        guard hasAnswers, !seeker.isNested else { return bound }
        // A quarter is reserved for calls made by handlers: otherwise the log could fill with calls that wait for those.
        return min(bound, head &+ all / 4 * 3 &- min(aside, all / 4 * 3))
    }

    /// The end of a skipped frame that leads from `start` past the places to skip. Nil if it is not needed, or there is no room
    /// for `size` bytes behind them.
    func wayPast(from start: UInt64, for size: UInt64, _ seeker: RoomSeeker) -> UInt64? {
        guard usedAside.relaxed != 0 else { return nil }
        let head = workHead.ordered
        let line = UInt64(LogLayout.Frame.alignment)
        var islands: [Island] = []
        let sum = visitIslands(from: start, head) { island in
            if island.start < head &+ UInt64(capacity) { islands.append(island) }
        }
        let bound = bound(head, sum, seeker)
        islands.sort { $0.start < $1.start }
        guard let first = islands.first, first.start > start, start &+ size > first.start &- line else { return nil }
        var end = first.end
        var rest = islands.dropFirst()
        while let next = rest.first, next.start <= end {
            end = max(end, next.end)
            rest.removeFirst()
        }
        guard end <= bound else { return nil }
        // If they are too large for one frame together with the space before them, the first step ends just before them.
        let step = end &- start <= 2 &* maximumFrame ? end : first.start &- line
        guard step > start else { return nil }
        while true {
            if end &+ size <= min(bound, (rest.first?.start).map { $0 &- line } ?? bound) { return step }
            guard let next = rest.popFirst() else { return nil }
            end = max(end, next.end)
        }
    }
}
