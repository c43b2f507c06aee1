import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// What all mechanisms with names have in common: `create`, `open` and `openOrCreate` mean the same everywhere.
@Suite(.timeLimit(.minutes(10))) struct NamedObjectTests {
    /// A mechanism, with the name of an object that does not exist yet.
    struct Kind: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let name = "/" + uniqueName()
        let create: @Sendable (String) throws(IPCError) -> Void
        let open: @Sendable (String) throws(IPCError) -> Void
        let openWithin: @Sendable (String, Deadline) throws(IPCError) -> Void
        let openSuspended: @Sendable (String, Deadline) async throws(IPCError) -> Void
        let openOrCreate: @Sendable (String, FilePermissions?) throws(IPCError) -> Void
        let mode: @Sendable (String) throws(IPCError) -> FilePermissions
        let unlink: @Sendable (String) throws(IPCError) -> Void
    }

    static let kinds: [Kind] = [
        Kind(
            testDescription: "NamedPipe",
            create: { (name) throws(IPCError) in _ = try NamedPipe.create(FilePath("/tmp" + name)) },
            open: { (name) throws(IPCError) in _ = try NamedPipe.open(FilePath("/tmp" + name)) },
            openWithin: { (name, deadline) throws(IPCError) in
                _ = try NamedPipe.open(FilePath("/tmp" + name), until: deadline)
            },
            openSuspended: { (name, deadline) async throws(IPCError) in
                _ = try await NamedPipe.open(FilePath("/tmp" + name), until: deadline)
            },
            openOrCreate: { (name, permissions) throws(IPCError) in
                _ = try NamedPipe.openOrCreate(FilePath("/tmp" + name), permissions: permissions)
            }, mode: { (name) throws(IPCError) in mode("/tmp" + name) },
            unlink: { (name) throws(IPCError) in try NamedPipe.open(FilePath("/tmp" + name)).unlink() }),
        Kind(
            testDescription: "SharedMemory",
            create: { (name) throws(IPCError) in _ = try SharedMemory.create(name, byteCount: 100) },
            open: { (name) throws(IPCError) in _ = try SharedMemory.open(name) },
            openWithin: { (name, deadline) throws(IPCError) in _ = try SharedMemory.open(name, until: deadline) },
            openSuspended: { (name, deadline) async throws(IPCError) in
                _ = try await SharedMemory.open(name, until: deadline)
            },
            openOrCreate: { (name, permissions) throws(IPCError) in
                _ = try SharedMemory.openOrCreate(name, byteCount: 100, permissions: permissions)
            }, mode: { (name) throws(IPCError) in try SharedMemory.open(name).permissions },
            unlink: { (name) throws(IPCError) in try SharedMemory.unlink(name) }),
        Kind(
            testDescription: "MappedFile",
            create: { (name) throws(IPCError) in _ = try MappedFile.create(FilePath("/tmp" + name), byteCount: 100) },
            open: { (name) throws(IPCError) in _ = try MappedFile.open(FilePath("/tmp" + name)) },
            openWithin: { (name, deadline) throws(IPCError) in
                _ = try MappedFile.open(FilePath("/tmp" + name), until: deadline)
            },
            openSuspended: { (name, deadline) async throws(IPCError) in
                _ = try await MappedFile.open(FilePath("/tmp" + name), until: deadline)
            },
            openOrCreate: { (name, permissions) throws(IPCError) in
                _ = try MappedFile.openOrCreate(FilePath("/tmp" + name), byteCount: 100, permissions: permissions)
            }, mode: { (name) throws(IPCError) in mode("/tmp" + name) },
            unlink: { (name) throws(IPCError) in remove("/tmp" + name) }),
        Kind(
            testDescription: "MessageQueue",
            create: { (name) throws(IPCError) in
                _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 16)
            },
            open: { (name) throws(IPCError) in _ = try MessageQueue.open(name) },
            openWithin: { (name, deadline) throws(IPCError) in _ = try MessageQueue.open(name, until: deadline) },
            openSuspended: { (name, deadline) async throws(IPCError) in
                _ = try await MessageQueue.open(name, until: deadline)
            },
            openOrCreate: { (name, permissions) throws(IPCError) in
                _ = try MessageQueue.openOrCreate(
                    name, maximumMessages: 2, messageSize: 16, permissions: permissions)
            },
            mode: { (name) throws(IPCError) in
                let queue = try MessageQueue.open(name)
                var status = stat()
                fstat(queue.descriptor.rawValue, &status)
                _ = consume queue
                return FilePermissions(rawValue: status.st_mode & 0o777)
            }, unlink: { (name) throws(IPCError) in try MessageQueue.unlink(name) }),
        Kind(
            testDescription: "NamedSemaphore",
            create: { (name) throws(IPCError) in _ = try NamedSemaphore.create(name, value: 1) },
            open: { (name) throws(IPCError) in _ = try NamedSemaphore.open(name) },
            openWithin: { (name, deadline) throws(IPCError) in _ = try NamedSemaphore.open(name, until: deadline) },
            openSuspended: { (name, deadline) async throws(IPCError) in
                _ = try await NamedSemaphore.open(name, until: deadline)
            },
            openOrCreate: { (name, permissions) throws(IPCError) in
                _ = try NamedSemaphore.openOrCreate(name, value: 1, permissions: permissions)
            }, mode: { (name) throws(IPCError) in mode("/dev/shm/sem." + name.dropFirst()) },
            unlink: { (name) throws(IPCError) in try NamedSemaphore.unlink(name) }),
    ]

    private static func mode(_ path: String) -> FilePermissions {
        var status = stat()
        lstat(path, &status)
        return FilePermissions(rawValue: status.st_mode & 0o777)
    }

    @Test(arguments: kinds) func createRefusesWhatExistsAndOpenWhatDoesNot(kind: Kind) throws {
        let name = kind.name
        #expect(failure { () throws(IPCError) in try kind.open(name) }?.code == .notFound)
        try kind.create(name)
        defer { try? kind.unlink(name) }
        #expect(failure { () throws(IPCError) in try kind.create(name) }?.code == .alreadyExists)
        try kind.open(name)
        try kind.openWithin(name, .immediate)
    }

    @Test(arguments: kinds) func openOrCreateCreatesOnceAndOpensThen(kind: Kind) throws {
        let name = kind.name
        defer { try? kind.unlink(name) }
        for _ in 0..<3 { try kind.openOrCreate(name, nil) }
        #expect(try kind.mode(name) == .ownerReadWrite)
        #expect(failure { () throws(IPCError) in try kind.create(name) }?.code == .alreadyExists)
    }

    @Test(arguments: kinds) func manyWhoOpenOrCreateAtOnceAllHaveIt(kind: Kind) throws {
        for round in 0..<20 {
            let name = kind.name + "-\(round)"
            let threads = try (0..<4).map { _ in
                try PlainThread { () throws(IPCError) in try kind.openOrCreate(name, nil) }
            }
            let errors = threads.map { $0.join() }
            #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
            try kind.unlink(name)
        }
    }

    @Test(arguments: kinds) func openWithADeadlineWaitsUntilItIsCreated(kind: Kind) throws {
        let name = kind.name
        let error = failure { () throws(IPCError) in try kind.openWithin(name, .after(.milliseconds(30))) }
        #expect(error?.code == .timedOut)
        #expect(error?.advice.contains("created") == true)
        let thread = try PlainThread { () throws(IPCError) in try kind.openWithin(name, .after(.seconds(60))) }
        try kind.create(name)
        let waited = thread.join()
        #expect(waited == nil)
        try kind.unlink(name)
    }

    @Test(arguments: kinds) func openSuspendsUntilItIsCreatedOrTheTaskIsCancelled(kind: Kind) async throws {
        let name = kind.name
        let late = Task { try await kind.openSuspended(name, .after(.milliseconds(30))) }
        #expect(await late.result.code == .timedOut)
        let cancelled = Task { try await kind.openSuspended(name, .after(.seconds(60))) }
        cancelled.cancel()
        #expect(await cancelled.result.code == .cancelled)
        let opener = Task { try await kind.openSuspended(name, .after(.seconds(60))) }
        try kind.create(name)
        try await opener.value
        try kind.unlink(name)
    }

    @Test(arguments: kinds) func permissionsThatWereAskedForHaveToBeThoseThatItHas(kind: Kind) throws {
        let name = kind.name
        try kind.openOrCreate(name, [.ownerReadWrite, .groupRead])
        defer { try? kind.unlink(name) }
        try kind.openOrCreate(name, [.ownerReadWrite, .groupRead])
        try kind.openOrCreate(name, nil)
        let error = failure { () throws(IPCError) in try kind.openOrCreate(name, .ownerReadWrite) }
        #expect(error?.code == .incompatibleOptions)
        #expect(error?.advice.contains("0640") == true && error?.advice.contains("0600") == true, "\(error as Any)")
    }

    /// In a process with the umask 077.
    @Test func permissionsAreSetWhateverTheUmaskIs() throws {
        let name = uniqueName()
        let (status, text) = try Peer(
            "sh", ["-c", "umask 077; exec '\(product("TestPeer"))' wide-permissions \(name)"]
        ).finish()
        #expect(status == .exited(0))
        #expect(text == "pipe 666\nmemory 666\nfile 666\nqueue 666\nsemaphore 666\n")
    }

    @Test func anotherSizeIsAnErrorThatNamesBoth() throws {
        let name = uniqueName()
        _ = try SharedMemory.create(name, byteCount: 100)
        defer { try? SharedMemory.unlink(name) }
        let path = FilePath("/tmp/" + uniqueName())
        _ = try MappedFile.create(path, byteCount: 100)
        defer { remove(path.string) }
        for size in [99, 101, 200] {
            let errors = [
                failure { () throws(IPCError) in _ = try SharedMemory.openOrCreate(name, byteCount: size) },
                failure { () throws(IPCError) in _ = try MappedFile.openOrCreate(path, byteCount: size) },
            ]
            for error in errors {
                #expect(error?.code == .incompatibleOptions)
                #expect(error?.advice.contains("100 bytes") == true && error?.advice.contains("\(size) bytes") == true)
            }
        }
        #expect(try SharedMemory.openOrCreate(name, byteCount: 100).byteCount == 100)
        #expect(try MappedFile.openOrCreate(path, byteCount: 100).byteCount == 100)
    }

    @Test func anotherCapacityOrMessageSizeIsAnErrorThatNamesBoth() throws {
        let name = uniqueName()
        _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        let capacity = failure { () throws(IPCError) in _ = try MessageQueue.openOrCreate(name, maximumMessages: 5) }
        #expect(capacity?.code == .incompatibleOptions)
        #expect(capacity?.advice.contains("2 messages") == true && capacity?.advice.contains("5") == true)
        let size = failure { () throws(IPCError) in _ = try MessageQueue.openOrCreate(name, messageSize: 64) }
        #expect(size?.code == .incompatibleOptions)
        #expect(size?.advice.contains("16 bytes") == true && size?.advice.contains("64") == true)
        // What was not asked for is as it is.
        let attributes = try MessageQueue.openOrCreate(name, messageSize: 16).attributes
        #expect(attributes.maximumMessages == 2 && attributes.messageSize == 16)
    }

    /// Its creator has died between making it and giving it a size.
    @Test func memoryThatItsCreatorNeverFinishedIsFinishedByOpenOrCreate() throws {
        let name = "/" + uniqueName()
        close(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0o600))
        defer { shm_unlink(name) }
        #expect(try SharedMemory.openOrCreate(name, byteCount: 100).byteCount == 100)
    }

    @Test func whoWaitsForMemoryWithoutASizeFindsItsSuccessor() throws {
        let name = "/" + uniqueName()
        close(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0o600))
        let thread = try PlainThread { () throws(IPCError) in
            guard try SharedMemory.open(name, until: .after(.seconds(60))).byteCount == 50 else {
                throw .timedOut("open", "the second one")
            }
        }
        shm_unlink(name)
        _ = try SharedMemory.create(name, byteCount: 50)
        let error = thread.join()
        #expect(error == nil)
        try SharedMemory.unlink(name)
    }

    @Test func aFileIsWaitedForUntilItIsNoLongerEmpty() throws {
        let path = FilePath("/tmp/" + uniqueName())
        let file = try FileDescriptor.open(path, .readWrite, options: .create, permissions: .ownerReadWrite)
        defer { remove(path.string) }
        let early = failure { () throws(IPCError) in _ = try MappedFile.open(path, until: .after(.milliseconds(30))) }
        #expect(early?.code == .notReady)
        let thread = try PlainThread { () throws(IPCError) in
            _ = try MappedFile.open(path, until: .after(.seconds(60))).map()
        }
        #expect(ftruncate(file.rawValue, 10) == 0)
        let error = thread.join()
        #expect(error == nil)
        try file.close()
    }

    @Test func whatLiesInMemoryIsCreatedOnceByOpenOrCreate() throws {
        let memory = try AnonymousMemory(byteCount: 16_384).map()
        for _ in 0..<2 {
            _ = try SharedMutex.openOrCreate(in: memory, at: 0)
            _ = try SharedCondition.openOrCreate(in: memory, at: 1024)
            _ = try SharedReadWriteLock.openOrCreate(in: memory, at: 2048)
            try SharedSemaphore.openOrCreate(in: memory, at: 8192, value: 1).post()
        }
        #expect(try SharedSemaphore.open(in: memory, at: 8192).value == 3)
        #expect(
            failure { () throws(IPCError) in _ = try SharedMutex.create(in: memory, at: 0) }?.code == .alreadyExists)
    }
}

extension Result where Failure == any Error {
    /// Of the error, if it is one of the library's.
    fileprivate var code: IPCError.Code? {
        guard case .failure(let error) = self else { return nil }
        return (error as? IPCError)?.code
    }
}
