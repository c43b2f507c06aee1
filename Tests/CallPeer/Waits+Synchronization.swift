import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport

// Locks that another thread holds, semaphores and counters at zero, objects that nobody has made, queues, children, signals.

let synchronizationWaits: [Wait] = [
    Wait("SharedMutex.lock(until:)", "SharedMutex.tryLock()") {
        let mutex = try heldMutex()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try mutex.lock(until: deadline)
                try mutex.unlock()
                return true
            }, release: { try mutex.unlock() }, tries: [("tryLock", { try inThread { try mutex.tryLock() != nil } })],
            mustBeReleased: true)
    },
    Wait("SharedMutex.withLock(until:repair:_:)") {
        let mutex = try heldMutex()
        return Wait.Case(
            call: .blocking { deadline in try mutex.withLock(until: deadline) { true } },
            release: { try mutex.unlock() }, mustBeReleased: true)
    },
    Wait("SharedMutex.withLock(until:repair:_:) async") {
        let mutex = try heldMutex()
        return Wait.Case(
            call: .suspending { deadline in try await mutex.withLock(until: deadline) { true } },
            release: { try mutex.unlock() }, mustBeReleased: true)
    },
    Wait("SharedReadWriteLock.lockForReading(until:)", "SharedReadWriteLock.tryLockForReading()") {
        let lock = try SharedReadWriteLock.create(in: newMemory(), at: 0)
        _ = try lock.lockForWriting()
        return Wait.Case(
            call: .blocking { deadline in
                try lock.unlock(try lock.lockForReading(until: deadline))
                return true
            }, release: { try lock.unlockAfterWriting() },
            tries: [("tryLockForReading", { try inThread { try lock.tryLockForReading() != nil } })],
            mustBeReleased: true)
    },
    Wait("SharedReadWriteLock.withReadLock(until:_:)") {
        let lock = try SharedReadWriteLock.create(in: newMemory(), at: 0)
        _ = try lock.lockForWriting()
        return Wait.Case(
            call: .blocking { deadline in try lock.withReadLock(until: deadline) { true } },
            release: { try lock.unlockAfterWriting() }, mustBeReleased: true)
    },
    Wait("SharedReadWriteLock.lockForWriting(until:)") {
        let lock = try SharedReadWriteLock.create(in: newMemory(), at: 0)
        let token = Giveable(try lock.lockForReading())
        return Wait.Case(
            call: .blocking { deadline in
                _ = try lock.lockForWriting(until: deadline)
                try lock.unlockAfterWriting()
                return true
            }, release: { try lock.unlock(token.value.take()!) }, mustBeReleased: true)
    },
    Wait("SharedReadWriteLock.withWriteLock(until:repair:_:)") {
        let lock = try SharedReadWriteLock.create(in: newMemory(), at: 0)
        let token = Giveable(try lock.lockForReading())
        return Wait.Case(
            call: .blocking { deadline in try lock.withWriteLock(until: deadline) { true } },
            release: { try lock.unlock(token.value.take()!) }, mustBeReleased: true)
    },
    Wait("SharedCondition.wait(_:until:)") {
        let (mutex, condition) = try newCondition()
        let isWoken = Flag()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try mutex.lock()
                defer { try? mutex.unlock() }
                guard try condition.wait(mutex, until: deadline) else { return false }
                isWoken.set()
                return true
            },
            release: {
                // A signal before the wait is for nobody.
                let end = Deadline.after(.seconds(20))
                while !isWoken.isSet, !end.hasPassed {
                    try mutex.withLock { condition.signal() }
                    usleep(1000)
                }
            }, isReleasedByCall: true)
    },
    Wait("SharedCondition.wait(_:until:for:)") {
        let (mutex, condition) = try newCondition()
        let flag = Flag()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try mutex.lock()
                defer { try? mutex.unlock() }
                return try condition.wait(mutex, until: deadline) { flag.isSet }
            },
            release: {
                flag.set()
                try mutex.withLock { condition.broadcast() }
            })
    },
    Wait("SharedSemaphore.wait(until:)", "SharedSemaphore.tryWait()") {
        let semaphore = try SharedSemaphore.create(in: newMemory(), at: 0, value: 0)
        return Wait.Case(
            call: .blocking { deadline in
                try semaphore.wait(until: deadline)
                return true
            }, release: { try semaphore.post() }, tries: [("tryWait", { try semaphore.tryWait() })])
    },
    Wait("SharedSemaphore.wait(until:) async") {
        let semaphore = try SharedSemaphore.create(in: newMemory(), at: 0, value: 0)
        return Wait.Case(
            call: .suspending { deadline in
                try await semaphore.wait(until: deadline)
                return true
            }, release: { try semaphore.post() })
    },
    Wait("NamedSemaphore.wait(until:)", "NamedSemaphore.tryWait()") {
        let semaphore = Box(try newSemaphore())
        return Wait.Case(
            call: .blocking { deadline in
                try semaphore.value.wait(until: deadline)
                return true
            }, release: { try semaphore.value.post() }, tries: [("tryWait", { try semaphore.value.tryWait() })])
    },
    Wait("NamedSemaphore.wait(until:) async") {
        let semaphore = Box(try newSemaphore())
        return Wait.Case(
            call: .suspending { deadline in
                try await semaphore.value.wait(until: deadline)
                return true
            }, release: { try semaphore.value.post() })
    },
    Wait("Futex.wait(whileEqual:until:)") {
        let futex = try Futex(in: newMemory(), at: 0)
        return Wait.Case(
            call: .blocking { deadline in try futex.wait(whileEqual: 0, until: deadline) },
            release: {
                futex.withValue { $0.store(1, ordering: .releasing) }
                futex.wake()
            })
    },
    Wait("Futex.wait(whileEqual:until:) async") {
        let futex = try Futex(in: newMemory(), at: 0)
        return Wait.Case(
            call: .suspending { deadline in try await futex.wait(whileEqual: 0, until: deadline) },
            release: {
                futex.withValue { $0.store(1, ordering: .releasing) }
                futex.wake()
            })
    },
    Wait("EventCounter.take(until:)", "EventCounter.tryTake()") {
        let counter = Box(try EventCounter())
        return Wait.Case(
            call: .blocking { deadline in try counter.value.take(until: deadline) == 1 },
            release: { try counter.value.add() }, tries: [("tryTake", { try counter.value.tryTake() != nil })])
    },
    Wait("EventCounter.take(until:) async") {
        let counter = Box(try EventCounter())
        return Wait.Case(
            call: .suspending { deadline in try await counter.value.take(until: deadline) == 1 },
            release: { try counter.value.add() })
    },
    Wait("SharedMutex.open(in:at:until:)") {
        let memory = try newMemory()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try SharedMutex.open(in: memory, at: 0, until: deadline)
                return true
            }, release: { _ = try SharedMutex.create(in: memory, at: 0) })
    },
    Wait("SharedReadWriteLock.open(in:at:until:)") {
        let memory = try newMemory()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try SharedReadWriteLock.open(in: memory, at: 0, until: deadline)
                return true
            }, release: { _ = try SharedReadWriteLock.create(in: memory, at: 0) })
    },
    Wait("SharedCondition.open(in:at:until:)") {
        let memory = try newMemory()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try SharedCondition.open(in: memory, at: 0, until: deadline)
                return true
            }, release: { _ = try SharedCondition.create(in: memory, at: 0) })
    },
    Wait("SharedSemaphore.open(in:at:until:)") {
        let memory = try newMemory()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try SharedSemaphore.open(in: memory, at: 0, until: deadline)
                return true
            }, release: { _ = try SharedSemaphore.create(in: memory, at: 0, value: 0) })
    },
    Wait("SharedMemory.open(_:access:until:)") {
        // Its maker has not given it a size.
        let name = systemName()
        let maker = shm_open(name, O_RDWR | O_CREAT, 0o600)
        let unlinking = Unlinking(name)
        try require(maker >= 0)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try SharedMemory.open(name, until: deadline)
                return true
            },
            release: {
                try require(ftruncate(maker, 4096) == 0)
                close(maker)
                // The name goes with the case: the opener may not have looked yet.
                withExtendedLifetime(unlinking) {}
            }, mustBeReleased: true)
    },
    Wait("SharedMemory.open(_:access:until:) async") {
        let name = systemName()
        let unlinking = Unlinking(name)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await SharedMemory.open(name, until: deadline)
                return true
            },
            release: {
                _ = try SharedMemory.create(name, byteCount: 4096)
                withExtendedLifetime(unlinking) {}
            })
    },
    Wait("NamedSemaphore.open(_:until:)") {
        let name = systemName()
        let unlinking = Unlinking("/sem." + name.dropFirst())
        return Wait.Case(
            call: .blocking { deadline in
                _ = try NamedSemaphore.open(name, until: deadline)
                return true
            },
            release: {
                _ = try NamedSemaphore.create(name, value: 1)
                withExtendedLifetime(unlinking) {}
            })
    },
    Wait("NamedSemaphore.open(_:until:) async") {
        let name = systemName()
        let unlinking = Unlinking("/sem." + name.dropFirst())
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await NamedSemaphore.open(name, until: deadline)
                return true
            },
            release: {
                _ = try NamedSemaphore.create(name, value: 1)
                withExtendedLifetime(unlinking) {}
            })
    },
    Wait("MappedFile.open(_:access:until:)") {
        let path = scratchPath()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try MappedFile.open(path, until: deadline)
                return true
            }, release: { _ = try MappedFile.create(path, byteCount: 4096) })
    },
    Wait("MappedFile.open(_:access:until:) async") {
        let path = scratchPath()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await MappedFile.open(path, until: deadline)
                return true
            }, release: { _ = try MappedFile.create(path, byteCount: 4096) })
    },
    Wait("NamedPipe.open(_:until:)") {
        let path = scratchPath()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try NamedPipe.open(path, until: deadline)
                return true
            }, release: { _ = try NamedPipe.create(path) })
    },
    Wait("NamedPipe.open(_:until:) async") {
        let path = scratchPath()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await NamedPipe.open(path, until: deadline)
                return true
            }, release: { _ = try NamedPipe.create(path) })
    },
]

/// A name of shared memory that goes with this object.
private final class Unlinking {
    private let name: String
    init(_ name: String) { self.name = name }
    deinit { shm_unlink(name) }
}

private final class UnlinkingQueue {
    private let name: String
    init(_ name: String) { self.name = name }
    deinit { try? MessageQueue.unlink(name) }
}

private func heldMutex() throws -> SharedMutex {
    let mutex = try SharedMutex.create(in: newMemory(), at: 0)
    _ = try mutex.lock()
    return mutex
}

private func newCondition() throws -> (SharedMutex, SharedCondition) {
    let memory = try newMemory()
    return (try SharedMutex.create(in: memory, at: 0), try SharedCondition.create(in: memory, at: 1024))
}

private func newSemaphore() throws -> NamedSemaphore {
    let name = systemName()
    defer { try? NamedSemaphore.unlink(name) }
    return try NamedSemaphore.create(name, value: 0)
}

/// For what would be an error in the thread that holds the lock.
private func inThread(_ body: @escaping () throws -> Bool) throws -> Bool {
    let result = Box<Result<Bool, any Error>>(.success(false))
    let thread = try PlainThread { () throws(IPCError) in result.value = Result { try body() } }
    _ = thread.join()
    return try result.value.get()
}

let systemWaits: [Wait] = [
    Wait("MessageQueue.open(_:access:until:)") {
        let name = systemName()
        let unlinking = UnlinkingQueue(name)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try MessageQueue.open(name, until: deadline)
                return true
            },
            release: {
                _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
                withExtendedLifetime(unlinking) {}
            })
    },
    Wait("MessageQueue.open(_:access:until:) async") {
        let name = systemName()
        let unlinking = UnlinkingQueue(name)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await MessageQueue.open(name, until: deadline)
                return true
            },
            release: {
                _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
                withExtendedLifetime(unlinking) {}
            })
    },
    Wait("MessageQueue.send(_:priority:until:)", "MessageQueue.trySend(_:priority:)") {
        let queue = try fullQueue()
        return Wait.Case(
            call: .blocking { deadline in
                try queue.value.send(three().span.bytes, until: deadline)
                return true
            }, release: { _ = try queue.value.receive() },
            tries: [("trySend", { try queue.value.trySend(three().span.bytes) })])
    },
    Wait("MessageQueue.send(_:priority:until:) async") {
        let queue = try fullQueue()
        return Wait.Case(
            call: .suspending { deadline in
                try await queue.value.send(three().span.bytes, until: deadline)
                return true
            }, release: { _ = try queue.value.receive() })
    },
    Wait("MessageQueue.receive(into:until:)", "MessageQueue.tryReceive(into:)") {
        let queue = Box(try newQueue())
        return Wait.Case(
            call: .blocking { deadline in
                _ = try receiving { try queue.value.receive(into: &$0, until: deadline) }
                return true
            }, release: { try queue.value.send(three().span.bytes) },
            tries: [("tryReceive", { try receiving { try queue.value.tryReceive(into: &$0) != nil } })])
    },
    Wait("MessageQueue.receive(into:until:) async") {
        let queue = Box(try newQueue())
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await receiving { try await queue.value.receive(into: &$0, until: deadline) }
                return true
            }, release: { try queue.value.send(three().span.bytes) })
    },
    Wait("MessageQueue.receive(until:)") {
        let queue = Box(try newQueue())
        return Wait.Case(
            call: .blocking { deadline in
                _ = try queue.value.receive(until: deadline)
                return true
            }, release: { try queue.value.send(three().span.bytes) })
    },
    Wait("MessageQueue.receive(until:) async") {
        let queue = Box(try newQueue())
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await queue.value.receive(until: deadline)
                return true
            }, release: { try queue.value.send(three().span.bytes) })
    },
    Wait("MessageQueue.waitForMessage(until:)") {
        let queue = Box(try newQueue())
        return Wait.Case(
            call: .blocking { deadline in try queue.value.waitForMessage(until: deadline) },
            release: { try queue.value.send(three().span.bytes) })
    },
    Wait("SignalSource.next(until:)", "SignalSource.tryNext()") {
        let source = Box(try SignalSource([.userDefined2]))
        return Wait.Case(
            call: .blocking { deadline in try source.value.next(until: deadline).signal == .userDefined2 },
            release: { kill(getpid(), SIGUSR2) }, tries: [("tryNext", { try source.value.tryNext() != nil })])
    },
    Wait("SignalSource.next(until:) async") {
        let source = Box(try SignalSource([.userDefined2]))
        return Wait.Case(
            call: .suspending { deadline in try await source.value.next(until: deadline).signal == .userDefined2 },
            release: { kill(getpid(), SIGUSR2) })
    },
    Wait("ChildProcess.wait(until:)", "ChildProcess.tryWait()") {
        let child = Box(try ChildProcess("sleep", ["100"]))
        return Wait.Case(
            call: .blocking { deadline in try child.value.wait(until: deadline) == .signaled(.kill) },
            release: { try child.value.handle.send(.kill) }, tries: [("tryWait", { try child.value.tryWait() != nil })])
    },
    Wait("ChildProcess.wait(until:) async") {
        let child = Box(try ChildProcess("sleep", ["100"]))
        return Wait.Case(
            call: .suspending { deadline in try await child.value.wait(until: deadline) == .signaled(.kill) },
            release: { try child.value.handle.send(.kill) })
    },
    Wait("ProcessHandle.waitForExit(until:)") {
        let child = Box(try ChildProcess("sleep", ["100"]))
        return Wait.Case(
            call: .blocking { deadline in
                try child.value.handle.waitForExit(until: deadline)
                return true
            }, release: { try child.value.handle.send(.kill) })
    },
    Wait("ProcessHandle.waitForExit(until:) async") {
        let child = Box(try ChildProcess("sleep", ["100"]))
        return Wait.Case(
            call: .suspending { deadline in
                try await child.value.handle.waitForExit(until: deadline)
                return true
            }, release: { try child.value.handle.send(.kill) })
    },
    Wait("ProcessHandle.tryQueue(_:value:)") {
        // Its queue is not filled, which would take all of this user's: only that it does not wait.
        let child = Box(try ChildProcess("sleep", ["100"]))
        return Wait.Case(
            call: .blocking { _ in true }, release: {},
            tries: [("tryQueue", { try !child.value.handle.tryQueue(.continue, value: 1) })], mayBeReady: true)
    },
]

func newQueue() throws -> MessageQueue {
    let name = systemName()
    defer { try? MessageQueue.unlink(name) }
    return try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
}

private func fullQueue() throws -> Box<MessageQueue> {
    let queue = Box(try newQueue())
    try fill { try queue.value.trySend(three().span.bytes) }
    return queue
}
