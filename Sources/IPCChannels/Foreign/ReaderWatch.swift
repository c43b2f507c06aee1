import IPC
import Synchronization

/// A look at a work queue or a service for a carrier, which asks far more often than somebody who wants a ``ChannelDescription``: the
/// channel's memory stays open. Neither joins nor waits. Safe from several threads.
package final class ReaderWatch: Sendable {
    private let memory: ChannelMemory
    /// The number of joins at which there was no other reader, so that a look costs one load until somebody joins; above `UInt32.max`
    /// if there was one.
    private let quietJoins = Atomic<UInt64>(.max)

    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/permissionDenied``; ``/IPC/IPCError/Code/corrupted``.
    package init(_ channel: AnyChannel) throws(IPCError) {
        memory =
            if case .root(let root) = channel.channel.place {
                try ChannelMemory.opened(channel.name, in: root)
            } else {
                try channel.channel.observe()
            }
    }

    /// How many workers or servers of other processes live. A system call for each of them.
    package func othersCount() throws(IPCError) -> Int {
        // Loaded before the slots: whoever joins later counts anew.
        let joins = memory.joinCount
        if quietJoins.load(ordering: .relaxed) == UInt64(joins) { return 0 }
        var (count, taken) = (0, 0)
        for slot in 0..<memory.usedReaders
        where memory.state(.reader, slot).acquired != LogLayout.SlotState.free
            && !OwnSlots.contains(memory, .reader, slot)
        {
            taken += 1
            if try memory.isAlive(.reader, slot) { count += 1 }
        }
        quietJoins.store(taken == 0 ? UInt64(joins) : .max, ordering: .relaxed)
        return count
    }

    /// The work that is not done: what no worker has and is due, and what one has.
    ///
    /// - Parameters:
    ///   - limit: Stops when that much was found, so that a long queue costs no more.
    ///   - end: Leaves out what begins in the log from there on.
    package func load(limit: Int = .max, before end: UInt64 = .max) -> (waiting: Int, taken: Int) {
        var (waiting, taken) = (0, 0)
        let now = WallClock.now
        for entry in memory.asideEntries {
            guard let position = memory.asidePosition(entry), memory.asideFrame(entry, position) != nil, position < end
            else {
                continue
            }
            let state = Work.State(word: memory.workState(at: position).published)
            guard state.isAside else { continue }
            if state.stage == Work.Stage.taken { taken += 1 }
            if state.stage == Work.Stage.available, memory.aside(entry, LogLayout.Aside.due).relaxed <= now {
                waiting += 1
            }
        }
        var position: UInt64 = 0
        for _ in 0..<memory.frameLimit where waiting + taken < limit {
            guard let header = (try? memory.workFrame(at: &position)) ?? nil, position < end else { break }
            if header.isMessage {
                let state = Work.State(word: memory.workState(at: position).published)
                if !state.isAside, state.isOf(lap: memory.workLap(at: position)) {
                    if state.stage == Work.Stage.taken { taken += 1 }
                    if state.stage == Work.Stage.available { waiting += 1 }
                }
            }
            position &+= header.size
        }
        return (waiting, taken)
    }

    /// The end of what was written so far.
    package func end() throws(IPCError) -> UInt64 {
        memory.hasSharedWriters ? try memory.checkedTail() : try LogPositions.end(memory).position
    }

    /// How often a job of this queue is delivered.
    package var maximumAttempts: Int { memory.retryPolicy.maximumAttempts }
}

extension TakenMessage {
    /// Whether it is a call of a client of this process.
    package var isOfThisProcess: Bool {
        switch kind {
        case .job: false
        case .call(let call): OwnSlots.contains(call.membership.memory, .writer, Int(call.call.work.header.writer))
        }
    }
}
