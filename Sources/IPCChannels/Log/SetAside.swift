import IPC
import Synchronization

/// Work that is set aside: the head may pass it though it is not done, and writers leave its place out.
///
/// So what one worker holds keeps nobody from the room of what is done behind it, and what was given back is found without a look
/// through the log. An entry of `control` says where such work lies; bit 27 of its word says that it has one. The entry stands before
/// the bit is set, and the bit is set before the head passes: so a writer that loads the head, and then looks at the entries, sees each
/// place that it has to leave out. Whoever makes the work done takes its entry away.
///
/// Who changes an entry makes itself its owner first, so that what a dead one has left halfway is known by its slot.
extension ChannelMemory {
    private typealias Entry = LogLayout.Aside

    var asideCount: Int { Entry.count(capacity: capacity) }
    var usedAside: SharedWord { word(LogLayout.usedAside) }
    /// Counts work that was given back and has no entry: whoever looked past it begins at the head again.
    var unlistedReturns: SharedWord { word(LogLayout.unlistedReturns) }

    func aside(_ entry: Int, _ field: Int) -> SharedWord {
        let start = LogLayout.aside(readerSlots: readerSlots, writerSlots: writerSlots)
        return word(start + entry * Entry.size + field)
    }

    /// The entries that were ever used.
    var asideEntries: Range<Int> { 0..<Int(min(UInt64(asideCount), usedAside.ordered)) }

    /// How many bytes of the log may be set aside: so many that what lies together can be passed by one frame.
    var maximumAside: UInt64 { maximumFrame / 2 * 3 }

    /// The position that an entry tells; nil if it is free, or cannot be one.
    func asidePosition(_ entry: Int) -> UInt64? {
        let word = aside(entry, Entry.position).ordered
        guard word & 1 != 0, LogLayout.Frame.isAligned(word - 1), word < LogLayout.farthest else { return nil }
        return word - 1
    }

    private func asideSize(_ entry: Int) -> UInt64 {
        LogLayout.Frame.aligned(min(aside(entry, Entry.byteCount).relaxed, maximumFrame))
    }

    /// As what we own entries.
    private var ownCode: UInt64 {
        ownSlot.map { UInt64(LogLayout.LockByte.participant($0.role, $0.slot)) } ?? UInt64(LogLayout.LockByte.reader(0))
    }

    // MARK: Entries

    /// Makes an entry for the frame at `position`. It is ours until ``stand(_:at:)`` or ``drop(_:)``.
    ///
    /// - Returns: nil if there is none left, or too much is set aside already.
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
            // Before it is ours: whoever recovers us looks at the entries only if one was used.
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
        // On the disk before the head can be: else a crash of the machine could leave the head without it.
        if isDurable {
            do throws(IPCError) { try syncAside() } catch {
                drop(free)
                throw error
            }
        }
        KillPoint.reach(.asideEntered)
        return free
    }

    /// The work has its bit now.
    func stand(_ entry: Int, at position: UInt64) {
        aside(entry, Entry.owner).ordered = Entry.stands
        // A pair: who makes the work done exchanges its word, and then looks at the owner; we store the owner, and then look at the
        // word. One of us takes the entry away.
        if isDone(position) { leave(position) }
    }

    /// The work has no bit.
    func drop(_ entry: Int) {
        aside(entry, Entry.position).ordered = 0
        aside(entry, Entry.owner).ordered = 0
    }

    /// Takes away the entry of work that is done, and lets writers have its place.
    func leave(_ position: UInt64) {
        for entry in asideEntries where aside(entry, Entry.position).ordered == position | 1 {
            takeAway(entry, position)
        }
        if sleepingWriters.mayHaveSleepers { sleepingWriters.wake(self) }
    }

    private func takeAway(_ entry: Int, _ position: UInt64) {
        guard aside(entry, Entry.owner).exchange(Entry.stands, for: ownCode).exchanged else { return }
        KillPoint.reach(.asideLeft)
        // It may have been taken away, and be another one's by now.
        if aside(entry, Entry.position).ordered == position | 1, isDone(position) {
            drop(entry)
        } else {
            aside(entry, Entry.owner).ordered = Entry.stands
        }
    }

    /// Whether the work at `position` is done, or what is there is another frame by now.
    private func isDone(_ position: UInt64) -> Bool {
        guard isCommitted(position) else { return true }
        // One that was given up has whatever its writer had begun to write.
        let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
        guard header.kind == LogLayout.Kind.message else { return true }
        let state = Work.State(word: workState(at: position).ordered)
        return state.stage == Work.Stage.done || !state.isOf(lap: workLap(at: position))
    }

    // MARK: Work

    /// Gives back work that a participant has: `next` instead of `state`.
    ///
    /// - Parameters:
    ///   - size: Bytes of its frame.
    ///   - due: When it may be handed out again, by the wall clock; of no effect if there is no entry left for it.
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

    /// Sets work aside that somebody has, or whose reply nobody has taken.
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

    /// Sets aside what is held at the head, if enough is done behind it. By a writer that finds no room, or by one that made work
    /// done which a writer may wait for.
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
            let state = Work.State(word: header.kind == LogLayout.Kind.message ? workState(at: position).ordered : 0)
            if header.kind != LogLayout.Kind.message || state.stage == Work.Stage.done || state.isAside {
                passed &+= header.size
            } else {
                // The rest waits for a worker, and not for one that holds something.
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

    /// Ends the calls whose deadline has passed: their callers may have been stopped, or keep replies that they do not want.
    func retireExpiredCalls() throws(IPCError) {
        guard pattern == .service else { return }
        let now = Deadline(nanoseconds: MonotonicClock.now).onMachine
        try scanWork { (_, position) throws(IPCError) in
            guard unsafe SharedWord(workPayload(at: position) + CallFrame.deadline).relaxed < now else { return }
            let state = Work.State(word: workState(at: position).ordered)
            // A caller that reads its reply has it.
            if state.stage != Work.Stage.collecting { withdrawCall(at: position) }
        }
        try advanceWorkHead()
    }

    /// Takes away the entries of what is done: whoever made it so died, or was stopped, before it did.
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

    /// Looks through all messages that are set aside.
    func scanAside<Failure>(_ body: (FrameHeader, UInt64) throws(Failure) -> Void) throws(Failure) {
        for entry in asideEntries {
            guard let position = asidePosition(entry), let header = asideFrame(entry, position) else { continue }
            try body(header, position)
        }
    }

    /// The header of work that is set aside; nil if it is done by now, or cannot be work.
    func asideFrame(_ entry: Int, _ position: UInt64) -> FrameHeader? {
        guard isCommitted(position) else { return nil }
        let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
        // Nobody writes there while the entry stands: what was read is of this frame.
        atomicMemoryFence(ordering: .acquiring)
        guard aside(entry, Entry.position).relaxed == position | 1, header.isValid(upTo: maximumFrame),
            header.kind == LogLayout.Kind.message, header.length >= UInt32(Work.prefixSize)
        else { return nil }
        return header
    }

    /// The process that has the work at the head; nil if nobody has it.
    var holderOfOldest: UInt32? {
        var position: UInt64 = 0
        guard let header = try? workFrame(at: &position), header.kind == LogLayout.Kind.message else { return nil }
        let state = Work.State(word: workState(at: position).published)
        guard state.stage == Work.Stage.taken, state.slot < readerSlots else { return nil }
        return process(.reader, state.slot).relaxed
    }

    // MARK: Room

    /// Who looks for room.
    struct RoomSeeker {
        /// The writer's slot, if there may be others.
        let slot: Int?
        /// Whether it calls from within a handler.
        let isHandler: Bool
    }

    /// A place that writers leave out.
    private struct Island {
        let start: UInt64
        let end: UInt64
    }

    /// How far writers of work may go from `start` on: a log beyond the head, and to the next place that they leave out. There is always
    /// room for the header of a frame before it.
    func workRoomEnd(from start: UInt64, _ seeker: RoomSeeker) -> UInt64 {
        // The head before the entries: what it has passed has an entry that we see.
        let head = workHead.ordered
        var end = head &+ UInt64(capacity)
        let sum = visitIslands(from: start, head) { island in end = min(end, island.start) }
        return min(end &- UInt64(LogLayout.Frame.alignment), bound(head, sum, seeker))
    }

    /// Shows where the places that the head has passed come again, from `start` on.
    ///
    /// - Returns: How many bytes they take.
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

    /// How far a writer may go at most, with so much set aside.
    private func bound(_ head: UInt64, _ aside: UInt64, _ seeker: RoomSeeker) -> UInt64 {
        let all = UInt64(capacity)
        let bound = head &+ all &- UInt64(LogLayout.Frame.alignment)
        guard pattern == .service, !seeker.isHandler else { return bound }
        // A quarter is for the calls that handlers make: without it, calls could fill the log that wait for those.
        return min(bound, head &+ all / 4 * 3 &- min(aside, all / 4 * 3))
    }

    /// Where a frame may end that begins at `start`, and leads past the places that are left out, where that is of use: behind them
    /// there is room for `size` bytes.
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
        // At once if they are too large for one frame with what lies before them.
        let step = end &- start <= 2 &* maximumFrame ? end : first.start &- line
        guard step > start else { return nil }
        while true {
            if end &+ size <= min(bound, (rest.first?.start).map { $0 &- line } ?? bound) { return step }
            guard let next = rest.popFirst() else { return nil }
            end = max(end, next.end)
        }
    }
}
