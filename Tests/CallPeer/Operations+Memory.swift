import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport

// Memory that is shared, by name, by descriptor and by file, and what is placed in it.

let memoryOperations: [Operation] = [
    Operation(
        "AnonymousMemory.init(byteCount:label:)", "AnonymousMemory.add(_:)", "AnonymousMemory.grow(to:)",
        "AnonymousMemory.map(_:access:prefaulting:)", "AnonymousMemory.resize(to:)", "AnonymousMemory.close()"
    ) {
        Attempt {
            let memory = try AnonymousMemory(byteCount: 8192)
            try memory.grow(to: 16_384)
            try memory.resize(to: 8192)
            _ = try memory.map(4096..<8192, access: .readOnly, prefaulting: true)
            try memory.add([.shrink, .grow])
            try memory.close()
        }
    },
    Operation("AnonymousMemory.init(adopting:requiring:minimumByteCount:)") {
        let memory = Box(try AnonymousMemory(byteCount: 8192))
        try memory.value.add(.shrink)
        return Attempt { _ = try AnonymousMemory(adopting: duplicate(memory.value.descriptor), requiring: .shrink) }
    },
    Operation("SharedMemory.create(_:byteCount:permissions:)") {
        let name = systemName()
        return Attempt(undo: { try SharedMemory.unlink(name) }) {
            _ = try SharedMemory.create(name, byteCount: 8192, permissions: [.ownerReadWrite, .groupRead])
        }
    },
    Operation("SharedMemory.openOrCreate(_:byteCount:permissions:)") {
        let name = systemName()
        return Attempt(undo: { try SharedMemory.unlink(name) }) {
            _ = try SharedMemory.openOrCreate(name, byteCount: 8192, permissions: [.ownerReadWrite, .groupRead])
        }
    },
    Operation("SharedMemory.openOrCreate(_:byteCount:permissions:)") {
        // One that exists.
        let name = systemName()
        _ = try SharedMemory.create(name, byteCount: 8192)
        return Attempt(end: { shm_unlink(name) }) {
            _ = try SharedMemory.openOrCreate(name, byteCount: 8192, permissions: .ownerReadWrite)
        }
    },
    Operation(
        "SharedMemory.open(_:access:)", "SharedMemory.grow(to:)", "SharedMemory.map(_:access:prefaulting:)",
        "SharedMemory.close()"
    ) {
        let name = systemName()
        _ = try SharedMemory.create(name, byteCount: 8192)
        return Attempt(end: { shm_unlink(name) }) {
            let memory = try SharedMemory.open(name)
            try memory.grow(to: 16_384)
            _ = try memory.map(prefaulting: true)
            try memory.close()
        }
    },
    Operation("SharedMemory.unlink(_:)") {
        let name = systemName()
        _ = try SharedMemory.create(name, byteCount: 8192)
        return Attempt(end: { shm_unlink(name) }) { try SharedMemory.unlink(name) }
    },
    Operation("MappedFile.openOrCreate(_:byteCount:permissions:)") {
        let path = scratchPath()
        return Attempt(undo: { try require(unlink(path.string) == 0) }) {
            _ = try MappedFile.openOrCreate(path, byteCount: 8192, permissions: [.ownerReadWrite, .groupRead])
        }
    },
    Operation("MappedFile.create(_:byteCount:permissions:)") {
        let path = scratchPath()
        return Attempt(undo: { try require(unlink(path.string) == 0) }) {
            _ = try MappedFile.create(path, byteCount: 8192)
        }
    },
    Operation(
        "MappedFile.open(_:access:)", "MappedFile.init(adopting:access:)", "MappedFile.map(_:_:prefaulting:)",
        "MappedFile.resize(to:)", "MappedFile.close()", "MemoryMapping.sync(_:_:)", "MemoryMapping.advise(_:_:)",
        "MemoryMapping.withAtomic(_:at:_:)", "MemoryMapping.withBytes(_:)", "MemoryMapping.withMutableBytes(_:)"
    ) {
        let path = scratchPath()
        _ = try MappedFile.create(path, byteCount: 8192)
        return Attempt {
            let file = try MappedFile.open(path, access: .readWrite)
            try file.resize(to: 16_384)
            let second = try MappedFile(adopting: duplicate(file.descriptor), access: .readWrite)
            let mapping = try second.map()
            mapping.withMutableBytes { $0.storeBytes(of: 7, as: UInt8.self) }
            mapping.withAtomic(UInt64.self, at: 8) { $0.store(1, ordering: .releasing) }
            try require(mapping.withBytes { $0.byteCount } == 16_384)
            try mapping.sync()
            try mapping.advise(.willNeed)
            try file.close()
        }
    },
    Operation(
        "SharedMutex.create(in:at:)", "SharedReadWriteLock.create(in:at:)", "SharedCondition.create(in:at:)",
        "SharedSemaphore.create(in:at:value:)", "SharedMutex.openOrCreate(in:at:)", "Futex.withValue(_:)",
        "SharedReadWriteLock.openOrCreate(in:at:)", "SharedCondition.openOrCreate(in:at:)",
        "SharedSemaphore.openOrCreate(in:at:value:)", "Futex.init(in:at:)", "SharedMutex.unlock()",
        "SharedMutex.markConsistent()", "SharedReadWriteLock.unlock(_:)", "SharedReadWriteLock.unlockAfterWriting()",
        "SharedSemaphore.post()"
    ) {
        Attempt {
            let memory = try newMemory(16_384)
            let mutex = try SharedMutex.create(in: memory, at: 0)
            _ = try mutex.lock()
            // Only of one whose owner died.
            try require(failure { () throws(IPCError) in try mutex.markConsistent() } != nil, "a refusal")
            try mutex.unlock()
            let lock = try SharedReadWriteLock.create(in: memory, at: 1024)
            try lock.unlock(try lock.lockForReading())
            _ = try lock.lockForWriting()
            try lock.unlockAfterWriting()
            _ = try SharedCondition.create(in: memory, at: 12_288)
            try SharedSemaphore.create(in: memory, at: 13_312, value: 0).post()
            try Futex(in: memory, at: 14_336).withValue { $0.store(1, ordering: .releasing) }
            _ = try SharedMutex.openOrCreate(in: memory, at: 0)
            _ = try SharedReadWriteLock.openOrCreate(in: memory, at: 1024)
            _ = try SharedCondition.openOrCreate(in: memory, at: 12_288)
            _ = try SharedSemaphore.openOrCreate(in: memory, at: 13_312, value: 0)
        }
    },
]
