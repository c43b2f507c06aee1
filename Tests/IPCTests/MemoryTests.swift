import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct SharedMemoryTests {
    @Test func whatOneMappingWritesAnotherReads() throws {
        let name = uniqueName()
        let memory = try SharedMemory.create(name, byteCount: 10_000)
        defer { try? SharedMemory.unlink(name) }
        let first = try memory.map()
        let second = try SharedMemory.open(name, access: .readOnly).map(4090..<4110)  // not on a page
        first.store(UInt64(0x0102_0304_0506_0708), at: 4093)
        #expect(second.load(UInt64.self, at: 3) == 0x0102_0304_0506_0708)
        #expect(second.withBytes { $0.byteCount } == 20)
        first.withAtomic(UInt32.self, at: 64) { $0.store(7, ordering: .releasing) }
        #expect(first.load(UInt32.self, at: 64) == 7)
        let permissions = try memory.permissions
        #expect(permissions == .ownerReadWrite)
    }

    @Test func badNamesAreExplained() {
        for (name, reason) in [
            ("", "word"), ("/a/b", "slash"), (String(repeating: "x", count: 256), "255"), ("a\0b", "zero"),
        ] {
            let error = failure { () throws(IPCError) in _ = try SharedMemory.create(name, byteCount: 1) }
            #expect(error?.code == .invalidName)
            #expect(error?.advice.contains(reason) == true)
        }
    }

    @Test func creatingTwiceAndOpeningNothingFail() throws {
        let name = uniqueName()
        let memory = try SharedMemory.create(name, byteCount: 100)
        defer { try? SharedMemory.unlink(name) }
        let again = failure { () throws(IPCError) in _ = try SharedMemory.create(name, byteCount: 100) }
        #expect(again?.code == .alreadyExists)
        let none = failure { () throws(IPCError) in _ = try SharedMemory.open(uniqueName()) }
        #expect(none?.code == .notFound)
        let outside = failure { () throws(IPCError) in _ = try memory.map(0..<101) }
        #expect(outside?.code == .invalidArgument)
        try memory.grow(to: 8192)
        let grown = try memory.map()
        #expect(grown.byteCount == 8192)
    }

    @Test func anObjectThatIsNotSizedYetIsWaitedFor() throws {
        let name = "/" + uniqueName()
        let raw = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0o600)
        defer { shm_unlink(name) }
        let early = failure { () throws(IPCError) in _ = try SharedMemory.open(name, until: .after(.milliseconds(30))) }
        #expect(early?.code == .notReady)
        let opener = try Peer.role("size", name)
        _ = try opener.said()
        #expect(ftruncate(raw, 4096) == 0)
        let text = try opener.finish().text
        #expect(text == "4096\n")
        close(raw)
    }

    @Test func aFullFileSystemIsAnErrorAndNotASignal() {
        let name = uniqueName()
        let error = failure { () throws(IPCError) in _ = try SharedMemory.create(name, byteCount: 1 << 50) }
        #expect(error?.code == .noSpace || error?.errno == .fileTooLarge)
        #expect(error?.advice.contains("/dev/shm") == true)
        let left = failure { () throws(IPCError) in _ = try SharedMemory.open(name) }
        #expect(left?.code == .notFound)
    }

    /// Whatever the path is by which the memory's file system is reached.
    @Test func moreThanTheMemoryHasIsRefusedBeforeItIsTaken() {
        let path = FilePath("/dev/../dev/shm/" + uniqueName())
        let error = failure { () throws(IPCError) in _ = try MappedFile.create(path, byteCount: 1 << 50) }
        #expect(error?.code == .noSpace)
        #expect(error?.advice.contains("free in memory") == true, "\(String(describing: error))")
        #expect(access(path.string, F_OK) != 0)
    }

    /// Meanwhile others would have none.
    @Test func moreThanADiskHasIsRefusedBeforeItIsTaken() throws {
        let before = SystemLimits.freeBytes(at: "/tmp")
        let least = Atomic(before)
        let isOver = Atomic(false)
        let looking = try PlainThread {
            while !isOver.load(ordering: .relaxed) {
                least.min(SystemLimits.freeBytes(at: "/tmp"), ordering: .relaxed)
            }
        }
        let path = FilePath("/tmp/" + uniqueName())
        let error = failure { () throws(IPCError) in
            _ = try MappedFile.create(path, byteCount: 2 * before + (64 << 30))
        }
        isOver.store(true, ordering: .relaxed)
        #expect(looking.join() == nil)
        #expect(error?.code == .noSpace && error?.advice.contains("are free in") == true, "\(error as Any)")
        #expect(least.load(ordering: .relaxed) > before / 2)
        #expect(access(path.string, F_OK) != 0)
    }

    @Test func aMappingOutlivesDescriptorAndName() throws {
        let name = uniqueName()
        let memory = try SharedMemory.create(name, byteCount: 4096)
        let mapping = try memory.map(prefaulting: true)
        try memory.close()
        try SharedMemory.unlink(name)
        mapping.store(5, at: 0)
        #expect(mapping.load(Int.self, at: 0) == 5)
    }

    /// What the documentation warns of; sealed memory is the way out (`sealsHoldAgainstEverybody`).
    @Test func aPeerThatShrinksANamedObjectKillsWhoTouchesIt() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            signal(SIGBUS, SIG_DFL)  // a sanitizer has a handler of its own
            let name = uniqueName()
            let memory = try SharedMemory.create(name, byteCount: 16_384)
            let mapping = try SharedMemory.open(name).map()
            try SharedMemory.unlink(name)
            mapping.store(UInt8(1), at: 16_000)
            ftruncate(memory.descriptor.rawValue, 4096)
            mapping.store(UInt8(1), at: 16_000)
        }
    }

    @Test(.timeLimit(.minutes(3))) func aThousandProcessesOpenAndCloseOneObject() throws {
        let name = uniqueName()
        let memory = try SharedMemory.create(name, byteCount: 4096)
        defer { try? SharedMemory.unlink(name) }
        let mapping = try memory.map()
        let rounds = repetitions(100)
        for _ in 0..<rounds {
            // Ten at a time.
            let shell = try ChildProcess(
                "sh",
                ["-c", "for i in 1 2 3 4 5 6 7 8 9 10; do \(product("TestPeer")) open-close \(name) 10 & done; wait"])
            let status = try shell.wait(until: .after(.seconds(60)))
            #expect(status == .exited(0))
        }
        #expect(mapping.load(Int.self, at: 0) == rounds * 100)
    }
}

@Suite(.timeLimit(.minutes(10))) struct AnonymousMemoryTests {
    @Test func sealsHoldAgainstEverybody() throws {
        let memory = try AnonymousMemory(byteCount: 8192)
        try memory.add([.shrink, .grow])
        let shrink = failure { () throws(IPCError) in try memory.resize(to: 4096) }
        #expect(shrink?.code == .permissionDenied)
        let grow = failure { () throws(IPCError) in try memory.grow(to: 16_384) }
        #expect(grow != nil)
        let seals = try memory.seals
        #expect(seals == [.shrink, .grow])
        try memory.add(.seal)
        let late = failure { () throws(IPCError) in try memory.add(.write) }
        #expect(late?.code == .permissionDenied)
    }

    @Test func aReceiverInsistsOnSealsAndSize() throws {
        let pair = try StreamSocket.makePair()
        func received(_ memory: borrowing AnonymousMemory) throws -> OwnedDescriptor {
            try pair.first.send(([1] as [UInt8]).span.bytes, descriptors: [memory.descriptor])
            var descriptors = ReceivedDescriptors()
            _ = try bytes(capacity: 1) { (buffer) throws(IPCError) in
                try pair.second.receive(into: &buffer, descriptors: &descriptors)
            }
            return descriptors.takeFirst()!
        }
        let memory = try AnonymousMemory(byteCount: 4096)
        let mapping = try memory.map()
        mapping.store(UInt32(77), at: 0)
        let unsealed = try received(memory)
        let lacking = failure { () throws(IPCError) in
            _ = try AnonymousMemory(adopting: unsealed.duplicate(), requiring: .shrink)
        }
        #expect(lacking?.advice.contains("shrink") == true)
        try memory.add(.shrink)
        let descriptor = try received(memory)
        let small = failure { () throws(IPCError) in
            _ = try AnonymousMemory(adopting: descriptor.duplicate(), requiring: .shrink, minimumByteCount: 8192)
        }
        #expect(small?.code == .invalidArgument)
        let adopted = try AnonymousMemory(adopting: descriptor, requiring: .shrink, minimumByteCount: 4096)
        #expect(try adopted.map(access: .readOnly).load(UInt32.self, at: 0) == 77)
    }
}

@Suite(.timeLimit(.minutes(10))) struct MappedFileTests {
    @Test func windowsResizeAndSync() throws {
        let path = FilePath("/tmp/" + uniqueName())
        defer { unlink(path.string) }
        let file = try MappedFile.create(path, byteCount: 5000)
        let window = try file.map(4000..<4100)
        window.store(UInt32(9), at: 50)
        try window.sync()
        try window.sync(10..<60, .asynchronous)
        for advice in [MemoryAdvice.sequential, .random, .willNeed, .normal] { try window.advise(advice) }
        if let refused = failure({ () throws(IPCError) in try window.advise(.hugePages) }) {
            #expect(refused.advice.contains("huge pages"))
        }
        let content = try MappedFile.open(path, access: .readOnly).map()
        #expect(content.access == .readOnly)
        #expect(content.load(UInt32.self, at: 4050) == 9)
        try file.resize(to: 20_000)
        let grown = try file.map()
        #expect(grown.byteCount == 20_000 && grown.load(UInt8.self, at: 19_999) == 0)
        try file.resize(to: 100)
        let size = try file.byteCount
        #expect(size == 100)
    }

    /// The kernel counts the pages that the disk does not have yet.
    @Test func nothingIsDurableBeforeSync() throws {
        let path = FilePath(productsFolder + "/" + uniqueName())  // on a disk, where /tmp may be memory
        defer { unlink(path.string) }
        let mapping = try MappedFile.create(path, byteCount: 65_536).map()
        try mapping.sync()
        #expect(try dirtyKibibytes(of: path) == 0)
        for page in 0..<16 { mapping.store(UInt8(1), at: page * 4096) }
        #expect(try dirtyKibibytes(of: path) == 64)
        try mapping.sync()
        #expect(try dirtyKibibytes(of: path) == 0)
    }

    private func dirtyKibibytes(of path: FilePath) throws -> Int {
        let peer = try Peer("grep", ["-A", "24", path.lastComponent!.string, "/proc/\(getpid())/smaps"])
        let fields = try peer.finish().text.split(separator: "\n").dropFirst().prefix { !$0.contains("-") }.filter {
            $0.hasPrefix("Private_Dirty:") || $0.hasPrefix("Shared_Dirty:")
        }
        #expect(fields.count == 2)
        return fields.compactMap { Int($0.split(separator: " ")[1]) }.reduce(0, +)
    }

    @Test func aPrivateCopyIsSeenByNobody() throws {
        let path = FilePath("/tmp/" + uniqueName())
        defer { unlink(path.string) }
        let file = try MappedFile.create(path, byteCount: 4096)
        let own = try file.map(nil, .privateCopy)
        own.store(UInt8(1), at: 0)
        let shared = try file.map()
        #expect(shared.load(UInt8.self, at: 0) == 0)
    }

    @Test func foldersDevicesAndEmptyFilesAreRefused() throws {
        let device = failure { () throws(IPCError) in _ = try MappedFile.open("/dev/null") }
        #expect(device?.code == .wrongType)
        let path = FilePath("/tmp/" + uniqueName())
        defer { unlink(path.string) }
        try FileDescriptor.open(path, .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        let empty = failure { () throws(IPCError) in _ = try MappedFile.open(path).map() }
        #expect(empty?.code == .invalidArgument)
    }
}
