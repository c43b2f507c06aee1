import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

@Suite(.timeLimit(.minutes(10))) struct RegistryTests {
    @Test func namesAreChecked() {
        for (name, reason) in [
            ("", "bytes"), ("/a", "missing"), ("a//b", "missing"), ("a/../b", "dot"), ("a b", "letters"),
            (String(repeating: "x", count: 201), "bytes"), (".hidden", "dot"),
        ] {
            let error = failure { () throws(IPCError) in _ = try ChannelName(name) }
            #expect(error?.code == .invalidName && error?.advice.contains(reason) == true, "\(name)")
        }
    }

    @Test func aWordAndAWordBelowItAreTwoChannels() throws {
        let name = channelName()
        let upper = try Topic<UInt32>.openOrCreate(name)
        let lower = try Topic<UInt64>.openOrCreate(name + "/below")
        let publishers = (try Box(upper.makePublisher()), try Box(lower.makePublisher()))
        let names = try ChannelRoot.current.names()
        #expect(names.contains(upper.name) && names.contains(lower.name))
        _ = publishers
    }

    /// It used to be created and opened in turn, for ever.
    @Test(arguments: [[], ["control"], ["log"], ["control", "log", "locks"]])
    func aFolderWithoutItsFilesIsToldAndCanBeRemoved(gone: [String]) throws {
        let topic = try Topic<UInt32>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept))
        _ = try Box(topic.makePublisher())
        let folder = ChannelRoot.current.folder(topic.name)
        for file in gone.isEmpty ? ["control", "log"] : gone { unlink(folder + "/" + file) }
        let name = topic.name.description
        let errors = [
            failure { () throws(IPCError) in _ = try Box(Topic<UInt32>.openOrCreate(name).makePublisher()) },
            failure { () throws(IPCError) in _ = try Box(Topic<UInt32>.open(name).makeSubscription()) },
            failure { () throws(IPCError) in _ = try Box(topic.makePublisher()) },
        ]
        #expect(errors.allSatisfy { $0?.code == .corrupted && $0?.advice.contains("remove it") == true }, "\(errors)")
        try Topic<UInt32>.remove(name)
        _ = try Box(Topic<UInt32>.openOrCreate(name).makePublisher())
    }

    /// The folder used to lose its name, and its files, before the removal failed.
    @Test func aStrayFileIsNamedAndTheChannelStaysWhole() throws {
        let topic = try Topic<UInt32>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept))
        let name = topic.name.description
        defer { try? Topic<UInt32>.remove(name) }
        let stray = ChannelRoot.current.folder(topic.name) + "/notes"
        close(creat(stray, 0o600))
        defer { unlink(stray) }
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let error = failure { () throws(IPCError) in try Topic<UInt32>.remove(name) }
        #expect(error?.advice.contains("notes") == true, "\(String(describing: error))")
        try publisher.publish(7)
        let received = try subscription.tryReceive()
        #expect(received == 7)
        #expect(try Topic<UInt32>.open(name).name == topic.name)
        unlink(stray)
        try Topic<UInt32>.remove(name)
        #expect(failure { () throws(IPCError) in _ = try Topic<UInt32>.open(name) }?.code == .notFound)
    }

    @Test func aTypeWithAnAddressIsRefusedByItsField() {
        struct Inner: BitwiseCopyable { var number: Int, place: UnsafeRawPointer }
        struct Outer: BitwiseCopyable { var count: Int, inner: Inner }
        struct Hidden: BitwiseCopyable { var maybe: UnsafeRawPointer? }
        enum Choice: BitwiseCopyable { case nothing, address(UnsafeRawPointer) }
        struct Chosen: BitwiseCopyable { var choice: Choice }
        enum Plain: BitwiseCopyable { case first, second }
        struct Allowed: BitwiseCopyable { var plain: Plain, maybe: Double?, wide: SIMD4<Float>, flag: Bool }
        let error = failure { () throws(IPCError) in _ = try Topic<Outer>.openOrCreate(channelName()) }
        #expect(error?.code == .wrongType && error?.resource.hasSuffix("Outer.inner.place") == true)
        let hidden = failure { () throws(IPCError) in _ = try Topic<Hidden>.openOrCreate(channelName()) }
        #expect(hidden?.code == .wrongType && hidden?.resource.hasSuffix("Hidden.maybe") == true)
        let chosen = failure { () throws(IPCError) in _ = try Topic<Chosen>.openOrCreate(channelName()) }
        #expect(chosen?.code == .wrongType && chosen?.resource.hasSuffix("Chosen.choice") == true)
        #expect(failure { () throws(IPCError) in _ = try MessageType.of(Allowed.self) } == nil)
    }

    @Test func anotherTypeIsRefusedAndBothAreNamed() throws {
        let name = channelName()
        let publisher = try Topic<UInt32>.openOrCreate(name).makePublisher()
        let error = failure { () throws(IPCError) in _ = try Topic<Float>.openOrCreate(name) }
        #expect(error?.code == .wrongType)
        #expect(error?.advice.contains("it is UInt32, and Float in this program") == true)
        let bytes = failure { () throws(IPCError) in _ = try Topic<RawBytes>.open(name) }
        #expect(bytes?.advice.contains("bytes") == true)
        _ = consume publisher
    }

    @Test func aPrivateTypeIsTheSameInEveryProcess() throws {
        let name = channelName()
        for _ in 0..<2 {
            let peer = try Peer(product("ChannelPeer"), ["create-of-private-type", name])
            let (status, text) = try peer.finish()
            #expect(status == .exited(0) && text == "created\n")
        }
        #expect(try ChannelDescription(ChannelName(name)).messageType == "Hidden")
        try Channel.remove(name)
    }

    @Test func theFingerprintSeesFieldsNotOnlySizes() throws {
        struct First: BitwiseCopyable { var a: Int32, b: Int32 }
        struct Second: BitwiseCopyable { var a: Int32, c: Int32 }
        let (first, second) = (try MessageType.of(First.self), try MessageType.of(Second.self))
        #expect(first.size == second.size && first.fingerprint != second.fingerprint)
        #expect(try MessageType.of(First.self) == first)
    }

    @Test func aChannelGoesWithItsLastParticipantOrIsKept() throws {
        let (used, kept) = (channelName(), channelName())
        do {
            let topic = try Topic<UInt8>.openOrCreate(used)
            let publisher = try topic.makePublisher()
            let subscription = try topic.makeSubscription()
            publisher.close()
            #expect(try ChannelRoot.current.names().contains(topic.name))
            subscription.close()
        }
        #expect(try !ChannelRoot.current.names().contains(ChannelName(used)))
        let gone = failure { () throws(IPCError) in _ = try Topic<UInt8>.open(used) }
        #expect(gone?.code == .notFound)
        do {
            var publisher = try Topic<UInt8>.openOrCreate(kept, ChannelOptions(lifetime: .kept)).makePublisher()
            try publisher.publish(7)
        }
        var subscription = try Topic<UInt8>.open(kept).makeSubscription(from: .oldest)
        #expect(try subscription.receive() == 7)
        try Topic<UInt8>.remove(kept)
    }

    @Test func aHandleOutlivesItsChannel() throws {
        let topic = try Topic<UInt8>.openOrCreate(channelName())
        try topic.makePublisher().close()  // the channel goes
        var publisher = try topic.makePublisher()  // and comes anew
        var subscription = try topic.makeSubscription()
        try publisher.publish(3)
        #expect(try subscription.receive() == 3)
    }

    @Test func aSecondExclusivePublisherIsRefusedWhileTheFirstLives() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        let holder = try Peer(product("ChannelPeer"), ["hold-publisher", topic.name.description])
        _ = try holder.said()
        let error = failure { () throws(IPCError) in _ = try topic.makePublisher() }
        #expect(error?.code == .addressInUse && error?.advice.contains("\(holder.child.handle.identifier)") == true)
        try holder.kill()
        _ = try topic.makePublisher()
    }

    @Test func tooManyParticipantsAreRefused() throws {
        let topic = try Topic<UInt8>.openOrCreate(
            channelName(), ChannelOptions(writers: .shared, maximumReaders: 2, maximumWriters: 1))
        let publisher = try topic.makePublisher()
        let readers = (try Box(topic.makeSubscription()), try Box(topic.makeSubscription()))
        let reader = failure { () throws(IPCError) in _ = try topic.makeSubscription() }
        #expect(reader?.code == .limitReached && reader?.advice.contains("maximumReaders") == true)
        let writer = failure { () throws(IPCError) in _ = try topic.makePublisher() }
        #expect(writer?.code == .limitReached && writer?.advice.contains("maximumWriters") == true)
        _ = readers
        publisher.close()
    }

    @Test func aFullFileSystemIsAnErrorAndLeavesNothing() throws {
        let name = channelName()
        let error = failure { () throws(IPCError) in
            _ = try Topic<UInt8>.openOrCreate(name, ChannelOptions(capacity: 1 << 39))
        }
        #expect(error?.code == .noSpace)
        #expect(!channelFolders().contains { $0.contains(name.split(separator: "/").last!) })
    }

    @Test func whoDiesWhileItMakesAChannelLeavesNothingForLong() throws {
        _ = channelRoot
        let path = channelRoot + "/.new-test:orphan"
        _ = try Topic<UInt8>.openOrCreate(channelName()).makePublisher()  // the root exists
        #expect(mkdir(path, 0o700) == 0)
        _ = try Topic<UInt8>.openOrCreate(channelName()).makePublisher()
        #expect(access(path, F_OK) != 0)
    }

    @Test func anotherVersionOrRubbishIsTold() throws {
        let name = channelName()
        let topic = try Topic<UInt8>.openOrCreate(name, ChannelOptions(lifetime: .kept))
        defer { try? Topic<UInt8>.remove(name) }
        let path = FilePath(ChannelRoot.current.folder(topic.name) + "/control")
        let control = try MappedFile.open(path, access: .readWrite).map()
        control.store(UInt32(9), at: LogLayout.Fixed.version)
        let version = failure { () throws(IPCError) in _ = try topic.makeSubscription() }
        #expect(version?.code == .wrongType && version?.advice.contains("version 9") == true)
        control.store(LogLayout.version, at: LogLayout.Fixed.version)
        control.store(UInt64(12_345), at: LogLayout.Fixed.capacity)
        let capacity = failure { () throws(IPCError) in _ = try topic.makeSubscription() }
        #expect(capacity?.code == .corrupted)
        control.store(UInt64(0), at: LogLayout.Fixed.magic)
        let magic = failure { () throws(IPCError) in _ = try topic.makeSubscription() }
        #expect(magic?.code == .corrupted)
    }

    @Test(.enabled(if: getuid() == 0)) func withoutPermissionTheErrorSaysSo() throws {
        let name = channelName()
        let publisher = try Topic<RawBytes>.openOrCreate(name).makePublisher()
        let command = "setpriv --reuid=65534 --clear-groups \(product("ChannelPeer")) wait \(name) 2>&1"
        let (status, text) = try Peer("sh", ["-c", command]).finish()
        #expect(status != .exited(0) && text.contains("permission denied"))
        _ = consume publisher
    }

    @Test func twoThatCreateAtOnceGetTheSameChannel() throws {
        for _ in 0..<10 {
            let name = channelName()
            let shell = try ChildProcess(
                "sh",
                ["-c", "for i in 1 2 3 4 5 6 7 8; do \(product("ChannelPeer")) create-at-once \(name) & done; wait"])
            _ = try shell.wait(until: .after(.seconds(30)))
            var subscription = try Topic<UInt64>.open(name).makeSubscription(from: .oldest)
            var seen: Set<UInt64> = []
            _ = try subscription.receiveAvailable { (process) throws(IPCError) in seen.insert(process) }
            #expect(seen.count == 8)
            try Topic<UInt64>.remove(name)
        }
    }

    @Test func aChannelThatComesAndGoesAllTheTimeIsNeverBroken() throws {
        let name = channelName()
        let shell = try Peer(
            "sh", ["-c", "for i in 1 2 3 4; do \(product("ChannelPeer")) join-leave \(name) 200 2>&1 & done; wait"])
        let (status, text) = try shell.finish()
        #expect(status == .exited(0) && text == "done\ndone\ndone\ndone\n", "\(text)")
        #expect(try !ChannelRoot.current.names().contains(ChannelName(name)))
    }

    @Test func channelsAreListedAndDescribedWithoutJoining() throws {
        let name = channelName()
        let topic = try Topic<UInt64>.openOrCreate(name, ChannelOptions(writers: .shared, capacity: 1 << 17))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let peer = try Peer(product("ChannelPeer"), ["hold-publisher-of-numbers", name])
        _ = try peer.said()
        for number in 0..<100 as Range<UInt64> { try publisher.publish(number) }
        #expect(try ChannelRoot.current.names().contains(ChannelName(name)))
        let description = try ChannelDescription(ChannelName(name))
        #expect(description.pattern == .topic && description.messageType == "UInt64")
        #expect(description.attributes.writers == .shared && description.attributes.capacity == 1 << 17)
        #expect(description.messageCount == 100 && description.position == 6400)
        #expect(description.participants.map(\.role) == [.reader, .writer, .writer])
        #expect(description.participants.map(\.isAlive) == [true, true, true])
        #expect(description.participants.map(\.backlog) == [6400, nil, nil])
        #expect(description.participants.last?.process == peer.child.handle.identifier)
        try peer.kill()
        // The dead one is seen, and nothing is changed by looking.
        for _ in 0..<2 {
            let after = try ChannelDescription(ChannelName(name))
            #expect(after.participants.map(\.isAlive) == [true, true, false])
        }
        #expect(try subscription.receiveAvailable { (_) throws(IPCError) in } == 100)
        let none = failure { () throws(IPCError) in _ = try ChannelDescription(ChannelName("test/none")) }
        #expect(none?.code == .notFound)
    }

    @Test func workThatIsWaitingAndTakenIsCounted() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 0..<10 as Range<UInt64> { try producer.send(number) }
        try worker.next().acknowledge()
        let job = try worker.next()
        let description = try ChannelDescription(queue.name)
        #expect(description.pattern == .workQueue && description.messageCount == 9 && description.takenCount == 1)
        try job.acknowledge()

        let event = try Event.openOrCreate(channelName())
        let participant = try event.makeParticipant()
        participant.notify(count: 3)
        #expect(try ChannelDescription(event.name).pendingNotices == 3)
    }

    /// Tuples hold no values that cannot be copied.
    final class Box<Value: ~Copyable> {
        let value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}
