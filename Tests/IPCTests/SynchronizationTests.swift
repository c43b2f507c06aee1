import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct SynchronizationTests {
    /// Zeroed shared memory under a name, for as long as the test needs it.
    private func withMemory(_ body: (String, MemoryMapping) throws -> Void) throws {
        let name = uniqueName()
        let mapping = try SharedMemory.create(name, byteCount: 8192).map()
        defer { try? SharedMemory.unlink(name) }
        try body(name, mapping)
    }

    @Test func aMutexTellsThatItsHolderDied() throws {
        try withMemory { name, mapping in
            let mutex = try SharedMutex.create(in: mapping, at: 0)
            let peer = try Peer.role("lock", "mutex", name)
            #expect(try peer.said() == "locked\n")
            let held = try mutex.tryLock()
            #expect(held == nil)
            let late = failure { () throws(IPCError) in _ = try mutex.lock(until: .after(.milliseconds(20))) }
            #expect(late?.code == .timedOut)
            try peer.kill()
            var isRepaired = false
            try mutex.withLock(repair: { isRepaired = true }) {}
            #expect(isRepaired)
            let next = try mutex.tryLock()
            #expect(next == .acquired)
            let twice = failure { () throws(IPCError) in _ = try mutex.lock() }
            #expect(twice?.code == .invalidArgument)
            try mutex.unlock()
            let free = failure { () throws(IPCError) in try mutex.unlock() }
            #expect(free?.code == .permissionDenied)
        }
    }

    @Test func aMutexThatNobodyRepairsIsNotRecoverable() throws {
        try withMemory { name, mapping in
            let mutex = try SharedMutex.create(in: mapping, at: 0)
            let peer = try Peer.role("lock", "mutex", name)
            _ = try peer.said()
            try peer.kill()
            let died = failure { () throws(IPCError) in try mutex.withLock {} }
            #expect(died?.code == .ownerDied)
            let dead = failure { () throws(IPCError) in _ = try mutex.lock() }
            #expect(dead?.code == .notRecoverable)
        }
    }

    @Test func aDeadReaderIsForgottenAndADeadWriterIsTold() throws {
        try withMemory { name, mapping in
            let lock = try SharedReadWriteLock.create(in: mapping, at: 0)
            let reader = try Peer.role("lock", "read", name)
            _ = try reader.said()
            let blocked = failure { () throws(IPCError) in _ = try lock.lockForWriting(until: .after(.milliseconds(20)))
            }
            #expect(blocked?.code == .timedOut)
            guard let token = try lock.tryLockForReading() else {
                Issue.record("a reader keeps out another")
                return
            }
            try lock.unlock(token)
            try reader.kill()
            try lock.withWriteLock {}

            let writer = try Peer.role("lock", "write", name)
            _ = try writer.said()
            let none = try lock.tryLockForReading() == nil
            #expect(none)
            try writer.kill()
            let suspect = failure { () throws(IPCError) in _ = try lock.lockForReading() }
            #expect(suspect?.code == .ownerDied)
            let unrepaired = failure { () throws(IPCError) in try lock.withWriteLock {} }
            #expect(unrepaired?.code == .ownerDied)
            var isRepaired = false
            try lock.withWriteLock(repair: { isRepaired = true }) {}
            #expect(isRepaired)
            try lock.withReadLock {}
        }
    }

    @Test func writersExcludeEachOther() throws {
        try withMemory { name, mapping in
            _ = try SharedReadWriteLock.create(in: mapping, at: 0)
            let first = try Peer.role("count", name)
            let second = try Peer.role("count", name)
            let third = try Peer.role("count", name)
            let statuses = [try first.finish().status, try second.finish().status, try third.finish().status]
            #expect(statuses == Array(repeating: .exited(0), count: 3))
            #expect(mapping.load(Int.self, at: SharedReadWriteLock.byteCount) == 30_000)
        }
    }

    @Test func aDeadWaiterDoesNotWedgeACondition() throws {
        try withMemory { name, mapping in
            let mutex = try SharedMutex.create(in: mapping, at: 0)
            let condition = try SharedCondition.create(in: mapping, at: 64)
            let peer = try Peer.role("lock", "condition", name)
            _ = try peer.said()
            // The peer holds the mutex until it waits.
            _ = try mutex.lock(until: .after(.seconds(10)))
            try mutex.unlock()
            try peer.kill()
            _ = try mutex.lock(until: .after(.seconds(10)))
            let isSignaled = try condition.wait(mutex, until: .after(.milliseconds(20)))
            #expect(!isSignaled)
            try mutex.unlock()
            condition.signal()
            condition.broadcast()
        }
    }

    @Test func aConditionWakesAcrossProcesses() throws {
        try withMemory { name, mapping in
            let mutex = try SharedMutex.create(in: mapping, at: 0)
            let condition = try SharedCondition.create(in: mapping, at: 64)
            let peer = try Peer.role("lock", "condition", name)
            _ = try peer.said()
            _ = try mutex.lock(until: .after(.seconds(10)))
            condition.signal()
            try mutex.unlock()
            // It goes on, and says so.
            #expect(try peer.said() == "locked\n")
            try peer.kill()
        }
    }

    private struct Refusal: Error, Equatable {
        let number: Int
    }

    /// Without a type at the closure, and the lock is free afterwards.
    @Test func aUsersOwnErrorPassesThroughLocksUnchanged() async throws {
        let mapping = try AnonymousMemory(byteCount: 8192).map()
        let mutex = try SharedMutex.create(in: mapping, at: 0)
        let condition = try SharedCondition.create(in: mapping, at: 64)
        let lock = try SharedReadWriteLock.create(in: mapping, at: 128)
        func refuse(_ number: Int) throws { throw Refusal(number: number) }
        func refuseSoon() throws -> Bool { throw Refusal(number: 4) }
        #expect(throws: Refusal(number: 1)) { try mutex.withLock { try refuse(1) } }
        #expect(throws: Refusal(number: 2)) { try lock.withReadLock { try refuse(2) } }
        #expect(throws: Refusal(number: 3)) { try lock.withWriteLock { try refuse(3) } }
        #expect(throws: Refusal(number: 4)) {
            try mutex.withLock { _ = try condition.wait(mutex, until: .immediate) { try refuseSoon() } }
        }
        await #expect(throws: Refusal(number: 5)) { try await mutex.withLock { try refuse(5) } }
        let futex = try Futex(in: mapping, at: 4096)
        #expect(throws: Refusal(number: 6)) { try futex.withValue { _ in try refuse(6) } }
        // Free, and in its own kind of error for closures that throw nothing else.
        let own = failure { () throws(IPCError) in
            try mutex.withLock {}
            try lock.withWriteLock {}
            try lock.withReadLock { () throws(IPCError) in throw .timedOut("nothing", "at all") }
        }
        #expect(own?.code == .timedOut && own?.operation == "nothing")
    }

    @Test func anErrorOfARepairPassesAndLeavesTheMutexUnusable() throws {
        try withMemory { name, mapping in
            let mutex = try SharedMutex.create(in: mapping, at: 0)
            let peer = try Peer.role("lock", "mutex", name)
            _ = try peer.said()
            try peer.kill()
            func refuse() throws { throw Refusal(number: 1) }
            var hasRun = false
            #expect(throws: Refusal(number: 1)) {
                try mutex.withLock(repair: { try refuse() }) { hasRun = true }
            }
            #expect(!hasRun)
            let dead = failure { () throws(IPCError) in _ = try mutex.lock() }
            #expect(dead?.code == .notRecoverable)
        }
    }

    @Test func aConditionsPredicateDecides() throws {
        try withMemory { _, mapping in
            let mutex = try SharedMutex.create(in: mapping, at: 0)
            let condition = try SharedCondition.create(in: mapping, at: 64)
            try mutex.withLock { () throws(IPCError) in
                var looks = 0
                let holds = try condition.wait(mutex, until: .after(.milliseconds(20))) {
                    looks += 1
                    return false
                }
                #expect(!holds && looks >= 2)
                #expect(try condition.wait(mutex, until: .immediate) { true })
            }
        }
    }

    @Test func aSemaphoreCountsAndHasADeadline() throws {
        try withMemory { _, mapping in
            let semaphore = try SharedSemaphore.create(in: mapping, at: 0, value: 2)
            let same = try SharedSemaphore.open(in: mapping, at: 0)
            try same.wait()
            #expect(try semaphore.tryWait())
            #expect(try !semaphore.tryWait())
            let start = Deadline.after(.milliseconds(30))
            let error = failure { () throws(IPCError) in try semaphore.wait(until: start) }
            #expect(error?.code == .timedOut && start.hasPassed)
            try same.post()
            #expect(semaphore.value == 1)
        }
    }

    @Test func whatLiesInMemoryIsNotMistaken() throws {
        try withMemory { _, mapping in
            _ = try SharedSemaphore.create(in: mapping, at: 0, value: 1)
            let again = failure { () throws(IPCError) in _ = try SharedSemaphore.create(in: mapping, at: 0, value: 1) }
            #expect(again?.code == .alreadyExists)
            _ = try SharedSemaphore.openOrCreate(in: mapping, at: 0, value: 1)
            let other = failure { () throws(IPCError) in _ = try SharedMutex.open(in: mapping, at: 0) }
            #expect(other?.code == .wrongType)
            let raw = failure { () throws(IPCError) in
                _ = try SharedMutex.open(in: mapping, at: 64, until: .after(.milliseconds(20)))
            }
            #expect(raw?.code == .notReady)
            for offset in [3, -64, 8192, 8160] {
                let outside = failure { () throws(IPCError) in _ = try SharedMutex.create(in: mapping, at: offset) }
                #expect(outside?.code == .invalidArgument)
            }
        }
    }

    @Test func aNamedSemaphoreStaysTakenWhenItsHolderDies() throws {
        let name = uniqueName()
        let semaphore = try NamedSemaphore.create(name, value: 1)
        defer { try? NamedSemaphore.unlink(name) }
        let peer = try Peer.role("hold-semaphore", name)
        _ = try peer.said()
        try peer.kill()
        let error = failure { () throws(IPCError) in try semaphore.wait(until: .after(.milliseconds(20))) }
        #expect(error?.code == .timedOut)  // as documented: it has no owner
        try semaphore.post()
        let value = semaphore.value
        #expect(value == 1)
        let again = failure { () throws(IPCError) in _ = try NamedSemaphore.create(name, value: 1) }
        #expect(again?.code == .alreadyExists)
    }

    @Test func anEmptySemaphoreFileIsAnErrorAndNotASignal() throws {
        let name = uniqueName()
        let path = FilePath("/dev/shm/sem." + name)
        try FileDescriptor.open(path, .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        defer { unlink(path.string) }
        let error = failure { () throws(IPCError) in _ = try NamedSemaphore.open(name) }
        #expect(error?.code == .corrupted)
    }

    @Test func aFutexWaitSeesAChangeThatCameBefore() throws {
        try withMemory { _, mapping in
            let futex = try Futex(in: mapping, at: 4)
            futex.withValue { $0.store(1, ordering: .releasing) }
            #expect(try futex.wait(whileEqual: 0))
            #expect(try !futex.wait(whileEqual: 1, until: .after(.milliseconds(20))))
            #expect(futex.wake() == 0)
        }
    }

    @Test func anEventCounterCounts() throws {
        let counter = try EventCounter()
        try counter.add(2)
        try counter.add(3)
        #expect(try counter.take() == 5)
        let none = try counter.tryTake()
        #expect(none == nil)
        let error = failure { () throws(IPCError) in _ = try counter.take(until: .after(.milliseconds(10))) }
        #expect(error?.code == .timedOut)
    }

    @Test func aWriterThatIsAReaderAlreadyLeavesTheLockAsItWas() throws {
        let lock = try SharedReadWriteLock.create(in: AnonymousMemory(byteCount: 4096).map(), at: 0)
        let token = try lock.lockForReading()
        let refused = failure { () throws(IPCError) in _ = try lock.lockForWriting(until: .after(.seconds(5))) }
        #expect(refused?.errno?.rawValue == EDEADLK)
        try lock.unlock(token)
        // Another thread could not have it if a part of it were still this one's.
        let thread = try PlainThread { () throws(IPCError) in
            _ = try lock.lockForWriting(until: .after(.seconds(5)))
            try lock.unlockAfterWriting()
        }
        #expect(thread.join() == nil)
    }
}
