import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Tasks that wait for semaphores, mutexes and futexes, which have no descriptors.
@Suite(.timeLimit(.minutes(10))) struct AsyncSynchronizationTests {
    private static var patience: Deadline { .after(.seconds(120)) }
    private final class Count: Sendable { let number = Atomic(0) }

    private static func code(_ body: () async throws -> Void) async -> IPCError.Code? {
        do { try await body() } catch { return (error as? IPCError)?.code }
        return nil
    }

    private static func memory() throws -> MemoryMapping { try AnonymousMemory(byteCount: 4096).map() }

    /// More than one thread can sleep for.
    @Test func manyTasksWaitForASemaphoreBesideThreads() async throws {
        let semaphore = try SharedSemaphore.create(in: try Self.memory(), at: 0, value: 0)
        let taken = Count()
        let thread = try PlainThread { () throws(IPCError) in
            for _ in 0..<100 {
                try semaphore.wait(until: Self.patience)
                taken.number.add(1, ordering: .relaxed)
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<300 {
                group.addTask {
                    try await semaphore.wait(until: Self.patience)
                    taken.number.add(1, ordering: .relaxed)
                }
            }
            for number in 0..<400 {
                try semaphore.post()
                if number % 10 == 0 { try await Task.sleep(for: .microseconds(200)) }
            }
            try await group.waitForAll()
        }
        #expect(thread.join() == nil)
        #expect(taken.number.load(ordering: .relaxed) == 400 && semaphore.value == 0)
        #expect(await Self.code { try await semaphore.wait(until: .after(.milliseconds(10))) } == .timedOut)
    }

    @Test func aCancelledWaitTakesNoneAndPassesItsWakeUpOn() async throws {
        let semaphore = try SharedSemaphore.create(in: try Self.memory(), at: 0, value: 0)
        let taken = Count()
        // Of this test, and not of all: on a busy machine it may begin minutes after the first.
        let patience = Self.patience
        let patient = Task {
            for _ in 0..<500 {
                try await semaphore.wait(until: patience)
                taken.number.add(1, ordering: .relaxed)
            }
        }
        var posts = 0
        while taken.number.load(ordering: .relaxed) < 500, !patience.hasPassed {
            let task = Task {
                if await Self.code({ try await semaphore.wait() }) == nil { taken.number.add(1, ordering: .relaxed) }
            }
            if Bool.random() { await Task.yield() }
            try semaphore.post()
            posts += 1
            task.cancel()
            await task.value
            // Whoever was woken and gave up has told another.
            while semaphore.value > 0, taken.number.load(ordering: .relaxed) < 500, !patience.hasPassed {
                await Task.yield()
            }
        }
        patient.cancel()
        _ = await patient.result
        #expect(taken.number.load(ordering: .relaxed) + semaphore.value == posts)
    }

    @Test func aNamedSemaphoreIsPostedByAnotherProcess() async throws {
        let name = uniqueName()
        let semaphore = try NamedSemaphore.create(name, value: 0)
        defer { try? NamedSemaphore.unlink(name) }
        let peer = try Peer.role("post-semaphore", name)
        try await semaphore.wait(until: Self.patience)
        #expect(try peer.finish().status == .exited(0))
    }

    @Test func aMutexIsLockedByTasksAndByThreads() async throws {
        let mapping = try Self.memory()
        let mutex = try SharedMutex.create(in: mapping, at: 0)
        let thread = try PlainThread { () throws(IPCError) in
            for _ in 0..<2000 {
                try mutex.withLock { () throws(IPCError) in
                    mapping.store(mapping.load(UInt64.self, at: 1024) + 1, at: 1024)
                }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    for _ in 0..<200 {
                        try await mutex.withLock(until: Self.patience) {
                            mapping.store(mapping.load(UInt64.self, at: 1024) + 1, at: 1024)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(thread.join() == nil)
        #expect(mapping.load(UInt64.self, at: 1024) == 6000)
    }

    @Test func aTaskIsToldOfTheHoldersDeath() async throws {
        let name = uniqueName()
        let mapping = try SharedMemory.create(name, byteCount: 4096).map()
        defer { try? SharedMemory.unlink(name) }
        let mutex = try SharedMutex.create(in: mapping, at: 0)
        let peer = try Peer.role("lock", "mutex", name)
        _ = try peer.said()
        let tasks = (0..<3).map { _ in
            Task {
                var hasRepaired = false
                try await mutex.withLock(until: Self.patience, repair: { () throws(IPCError) in hasRepaired = true }) {}
                return hasRepaired
            }
        }
        try await Task.sleep(for: .milliseconds(20))
        try peer.kill()
        var repairs = 0
        for task in tasks where try await task.value { repairs += 1 }
        #expect(repairs == 1)
    }

    @Test func aFutexIsWaitedFor() async throws {
        let futex = try Futex(in: try Self.memory(), at: 0)
        let task = Task { try await futex.wait(whileEqual: 0, until: Self.patience) }
        try await Task.sleep(for: .milliseconds(10))
        futex.withValue { $0.store(1, ordering: .releasing) }
        futex.wake()
        #expect(try await task.value)
        #expect(try await futex.wait(whileEqual: 0))
        let isReady = try await futex.wait(whileEqual: 1, until: .after(.milliseconds(5)))
        #expect(!isReady)
        let cancelled = Task { await Self.code { _ = try await futex.wait(whileEqual: 1) } }
        cancelled.cancel()
        #expect(await cancelled.value == .cancelled)
    }
}
