import CIPCShims
import Glibc
import IPC

// How a thread sleeps in a wait queue.
extension WaitQueue {
    /// A sleeper's count of itself, valid until it is woken.
    struct Announcement {
        fileprivate let ticket: UInt64
        fileprivate let seen: UInt32
    }

    /// Sleeps until a wake-up, the deadline, or the maximum sleep, unless the last check `isReady` finds something.
    ///
    /// Threads of this process that wait for the same news of a channel take turns: each, after its maximum sleep, polls for all of
    /// them.
    ///
    /// - Parameters:
    ///   - announcement: From the previous sleep in the same wait: the thread is counted again only after a wake-up.
    ///   - maximumSleep: How long a single thread sleeps at most, in nanoseconds.
    ///   - isReady: May be called by another thread while this one sleeps.
    func sleepInTurn(
        _ announcement: inout Announcement?, in memory: ChannelMemory, until deadline: Deadline,
        atMost maximumSleep: UInt64 = Self.maximumSleep, unless isReady: () -> Bool
    ) {
        guard announcement != nil else {
            return sleep(&announcement, until: deadline, atMost: maximumSleep, unless: isReady)
        }
        let news = IdleThreads.News(channel: memory.key, kind: kind)
        let others = withoutActuallyEscaping(isReady) { isReady in
            let turn = IdleThreads.begin(news, at: sleepers, maximumSleep: maximumSleep, isReady)
            let isWoken = isWoken(&announcement, until: deadline, atMost: turn.maximumSleep, unless: isReady)
            // A thread that finds work takes it itself, so it need not poll for the others.
            let isWork = memory.carriesWork && news.kind == .messages
            return IdleThreads.end(news, turn, looks: !isWoken && !isWork)
        }
        // Through this thread's own mapping: theirs may be gone by now.
        for sleepers in others { memory.place(of: sleepers)?.wake(memory) }
    }

    private var kind: IdleThreads.News.Kind {
        switch sleepers {
        case .readers: .messages
        case .writers, .sharedWriters: .room
        case .writer: .replies
        }
    }

    /// The same for a thread that polls for itself only.
    func sleep(
        _ announcement: inout Announcement?, until deadline: Deadline, atMost maximumSleep: UInt64,
        unless isReady: () -> Bool
    ) {
        _ = isWoken(&announcement, until: deadline, atMost: maximumSleep, unless: isReady)
    }

    /// - Returns: False if it slept until its time was up; true if it was woken or did not sleep.
    private func isWoken(
        _ announcement: inout Announcement?, until deadline: Deadline, atMost maximumSleep: UInt64,
        unless isReady: () -> Bool
    ) -> Bool {
        let seen = unsafe wakes.pointee.load(ordering: .acquiring)
        if let old = announcement, Self.canFence, old.seen == seen, woken.ordered < old.ticket {
            return isReady() || futexWait(seen, until: deadline, atMost: maximumSleep) != ETIMEDOUT
        }
        announcement = Announcement(ticket: announce(), seen: seen)
        if isReady() { return true }
        if !Self.canFence {
            _ = futexWait(seen, until: deadline, atMost: min(maximumSleep, Self.maximumSleepWithoutFence))
            if isReady() { return true }
        }
        return futexWait(seen, until: deadline, atMost: maximumSleep) != ETIMEDOUT
    }

    /// Sleeps without being counted, which needs no write access: until a wake-up of others, or until the time is up.
    func doze(until deadline: Deadline, atMost maximumSleep: UInt64, unless isReady: () -> Bool) {
        let seen = unsafe wakes.pointee.load(ordering: .acquiring)
        if isReady() { return }
        guard futexWait(seen, until: deadline, atMost: maximumSleep) == EFAULT else { return }
        // This kernel does not accept a futex in read-only memory.
        usleep(UInt32(maximumSleep / 1000))
    }

    /// - Returns: Why it ended, as an `errno`; 0 for a wake-up.
    private func futexWait(_ seen: UInt32, until deadline: Deadline, atMost maximumSleep: UInt64) -> CInt {
        var time = Deadline(nanoseconds: min(deadline.nanoseconds, MonotonicClock.now &+ maximumSleep)).timespec
        let word = unsafe UnsafeRawPointer(wakes).assumingMemoryBound(to: UInt32.self)
        return unsafe ipc_futex_wait(word, seen, &time) < 0 ? errno : 0
    }
}

extension ChannelMemory {
    /// - Returns: Nil if there can be no such wait queue.
    fileprivate func place(of sleepers: WaitQueue.Sleepers) -> WaitQueue? {
        switch sleepers {
        case .readers: waitingReaders
        case .writers, .sharedWriters: waitingWriters
        case .writer(let slot): try? waitingCaller(UInt32(slot))
        }
    }
}
