import Glibc
import IPC
import SystemPackage
import SystemSupport

// Holders of locks, counters and semaphores.
extension TestPeer {
    /// Takes a lock at offset 0, says so, and waits to be killed.
    static func lock(_ kind: String, _ name: String) throws {
        let mapping = try SharedMemory.open(name).map()
        switch kind {
        case "mutex": _ = try SharedMutex.open(in: mapping, at: 0).lock()
        case "read": _ = try SharedReadWriteLock.open(in: mapping, at: 0).lockForReading()
        case "write": _ = try SharedReadWriteLock.open(in: mapping, at: 0).lockForWriting()
        case "condition":
            let mutex = try SharedMutex.open(in: mapping, at: 0)
            _ = try mutex.lock()
            say("locked")
            _ = try SharedCondition.open(in: mapping, at: 64).wait(mutex)
        default: fatalError("unknown lock")
        }
        say("locked")
        while true { pause() }
    }

    /// Counts up under the lock at offset 0, 10,000 times.
    static func count(_ name: String) throws {
        let mapping = try SharedMemory.open(name).map()
        let lock = try SharedReadWriteLock.open(in: mapping, at: 0)
        let offset = SharedReadWriteLock.byteCount
        for _ in 0..<10_000 {
            try lock.withWriteLock { mapping.store(mapping.load(Int.self, at: offset) + 1, at: offset) }
        }
    }

    static func openAndClose(_ name: String, _ times: Int) throws {
        for _ in 0..<times {
            let mapping = try SharedMemory.open(name).map()
            mapping.withAtomic(Int.self, at: 0) { _ = $0.add(1, ordering: .relaxed) }
        }
    }

    static func holdSemaphore(_ name: String) throws {
        try NamedSemaphore.open(name).wait()
        say("held")
        while true { pause() }
    }
}
