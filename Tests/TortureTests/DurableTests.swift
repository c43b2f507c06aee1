import CIPCShims
import Foundation
import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Channels in files. The machine cannot be crashed here; instead, its disk is imagined: the files as they were page by page
/// at different times, which is what a crash leaves of what was not synced.
@Suite(.serialized, .timeLimit(.minutes(20))) struct DurableTests {
    /// A folder on a disk, which goes with its channels.
    private struct Disk: ~Copyable {
        let root = ChannelRoot(FilePath("/tmp/" + uniqueName()))
        deinit { try? FileManager.default.removeItem(atPath: root.path) }

        func path(_ name: String) -> String { root.path + "/" + name }

        /// The pages of `log`, each as it was at one of two times, and then `control`, whose reserved end is on the disk before
        /// anything is written above the old one. Between, less than half the log is written: what was synced before is
        /// not overwritten.
        func snapshot(_ name: String, to other: borrowing Disk) throws {
            try FileManager.default.createDirectory(atPath: other.path(name), withIntermediateDirectories: true)
            func file(_ file: String) throws -> [UInt8] {
                try [UInt8](Data(contentsOf: URL(filePath: path(name) + "/" + file)))
            }
            func reservedEnd(_ control: [UInt8]) -> UInt64 {
                control.withUnsafeBytes { $0.load(fromByteOffset: LogLayout.reservedEnd, as: UInt64.self) }
            }
            var (pages, control): ([UInt8], [UInt8]) = ([], [])
            var before: UInt64
            repeat {
                before = reservedEnd(try file("control"))
                pages = try file("log")
                usleep(UInt32.random(in: 0..<3000))
                let later = try file("log")
                for page in stride(from: 0, to: pages.count, by: 4096) where Bool.random() {
                    pages.replaceSubrange(page..<page + 4096, with: later[page..<page + 4096])
                }
                control = try file("control")
            } while reservedEnd(control) - before > UInt64(pages.count / 2)
            try Data(pages).write(to: URL(filePath: other.path(name) + "/log"))
            try Data(control).write(to: URL(filePath: other.path(name) + "/control"))
        }
    }

    private func options(
        _ writers: ChannelOptions.Writers, _ durability: ChannelOptions.Durability = .syncedEachMessage
    ) -> ChannelOptions {
        ChannelOptions(writers: writers, durability: durability, capacity: 65_536)
    }

    /// The number after each writer's last message, of all that is kept.
    private func kept(_ topic: Topic<RawBytes>, _ disk: borrowing Disk) throws -> [Int: Int] {
        try publishEnd(topic)
        let reader = try Peer(
            product("ChannelPeer"), ["subscribe", topic.name.description, "kept"],
            environment: ["IPC_ROOT=\(disk.root.path)"])
        let (status, text) = try reader.finish()
        #expect(status == .exited(0), "\(text)")
        var counts: [Int: Int] = [:]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2, let writer = Int(fields[0]) { counts[writer] = Int(fields[1]) }
        }
        return counts
    }

    @Test func theChecksumIsThatOfTheStandard() {
        let text = Array("123456789".utf8)
        #expect(ipc_crc32c(0, text, 9) == 0xe306_9283 && ipc_crc32c_by_table(0, text, 9) == 0xe306_9283)
        for _ in 0..<100 {
            let bytes = (0..<Int.random(in: 0..<100)).map { _ in UInt8.random(in: 0...255) }
            #expect(ipc_crc32c(7, bytes, bytes.count) == ipc_crc32c_by_table(7, bytes, bytes.count))
        }
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func whatWasSyncedSurvivesTheMachine(writers: ChannelOptions.Writers) throws {
        for _ in 0..<KillTests.repetitions * 5 {
            let disk = Disk()
            let name = "log"
            let topic = try Topic<RawBytes>.openOrCreate(name, in: disk.root, options(writers))
            let progress = try Progress()
            var publishers: [Box] = []
            for writer in writers == .shared ? [1, 2] : [1] {
                publishers.append(
                    Box(
                        try ChildProcess(
                            product("ChannelPeer"), ["publish", name, "\(writer)", "1000000", "5000", progress.name],
                            environment: .only(pairs: ["IPC_ROOT=\(disk.root.path)"]))))
            }
            for _ in 0..<3 {
                usleep(UInt32.random(in: 10_000..<60_000))
                let synced = [1, 2].map { progress[$0] }
                let crashed = Disk()
                try disk.snapshot(name, to: crashed)
                let copy = try Topic<RawBytes>.open(name, in: crashed.root)
                let counts = try kept(copy, crashed)
                for writer in [1, 2] where synced[writer - 1] > 0 {
                    // The other writers' messages may have pushed all of one's out of the log.
                    let count = counts[writer] ?? (writers == .shared ? synced[writer - 1] : 0)
                    #expect(count >= synced[writer - 1], "\(writers)")
                }
                // And it goes on.
                let again = try Progress()
                let next = try ChildProcess(
                    product("ChannelPeer"), ["publish", name, "3", "100", "5000", again.name],
                    environment: .only(pairs: ["IPC_ROOT=\(crashed.root.path)"]))
                let status = try next.wait(until: .after(.seconds(30)))
                #expect(status == .exited(0))
            }
            for publisher in publishers { try publisher.child.handle.send(.kill) }
            for publisher in publishers { _ = try publisher.child.wait(until: .after(.seconds(20))) }
            // The machine lives: nothing at all is lost but what the dead had begun.
            let counts = try kept(topic, disk)
            for writer in writers == .shared ? [1, 2] : [1] {
                let count = counts[writer] ?? progress[writer]
                #expect(count >= progress[writer] && count <= progress[writer] + 1)
            }
        }
    }

    @Test func aTornTailIsCutAndDoesNotComeBack() throws {
        for round in 0..<30 {
            let disk = Disk()
            let topic = try Topic<RawBytes>.openOrCreate("log", in: disk.root, options(.exclusive, .syncedWhenAsked))
            var publisher = try topic.makePublisher()
            // In the second lap every other time.
            let before = round % 2 == 0 ? 100 : 1500
            func text(_ number: Int) -> [UInt8] { Array("message \(number)".utf8) }
            for number in 0..<before { try publisher.publish(text(number).span.bytes) }
            try publisher.sync()
            let end = try topic.makeSubscription().position.offset
            for number in before..<before + 50 { try publisher.publish(text(number).span.bytes) }
            publisher.close()
            // One of the fifty is torn, or a few are.
            let file = try FileHandle(forUpdating: URL(filePath: disk.path("log") + "/log"))
            let torn = Int.random(in: 0..<50)
            let offset = (Int(end) + torn * 64 + Int.random(in: 0..<(round % 3 == 0 ? 24 : 40))) % 65_536
            try file.seek(toOffset: UInt64(offset))
            let byte = try #require(try file.read(upToCount: 1)).first! ^ 0x55
            try file.seek(toOffset: UInt64(offset))
            try file.write(contentsOf: [byte])
            try file.close()

            var again = try topic.makePublisher()  // the first to join
            var reader = try topic.makeSubscription(from: .oldest)
            func next() throws(IPCError) -> String? {
                try reader.tryReceive { (bytes) throws(IPCError) in
                    bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
                }
            }
            var last: String?
            while let text = try next() { last = text }
            #expect(last == "message \(before + torn - 1)")
            // Of the same size as the torn one: what came after it must not come after this.
            try again.publish(text(before + torn).span.bytes)
            #expect(try next() == "message \(before + torn)")
            #expect(try next() == nil)
        }
    }

    @Test func workThatWasNotDoneIsHandedOutAgain() throws {
        let disk = Disk()
        var options = options(.shared, .syncedWhenAsked)
        options.durability = .syncedEvery(bytes: 1000)
        let queue = try WorkQueue<UInt64>.openOrCreate("jobs", in: disk.root, options)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 0..<10 as Range<UInt64> { try producer.send(number) }
        try producer.sync()
        for _ in 0..<3 { try worker.next().acknowledge() }
        let held = try worker.next()
        try producer.sync()
        let crashed = Disk()
        try disk.snapshot("jobs", to: crashed)
        let copy = try WorkQueue<UInt64>.open("jobs", in: crashed.root)
        var other = try copy.makeWorker()
        for number in 3..<10 as Range<UInt64> {
            let job = try other.next(until: .immediate)
            let (message, attempt) = (job.message, job.attempt)
            #expect(message == number && attempt == (number == 3 ? 2 : 1))
            try job.acknowledge()
        }
        let none = try other.tryNext() == nil
        #expect(none)
        try held.acknowledge()
    }

    @Test(arguments: ["durable.cut", "durable.done", "sync.begun"])
    func theFirstToJoinDiesToo(point: String) throws {
        let disk = Disk()
        let topic = try Topic<RawBytes>.openOrCreate("log", in: disk.root, options(.shared))
        let progress = try Progress()
        func publish(_ writer: Int, _ environment: [String]) throws -> IPC.ExitStatus {
            try ChildProcess(
                product("ChannelPeer"), ["publish", "log", "\(writer)", "50", "300", progress.name],
                environment: .only(pairs: ["IPC_ROOT=\(disk.root.path)"] + environment)
            ).wait(until: .after(.seconds(20)))
        }
        #expect(try publish(1, []) == .exited(0))
        #expect(try publish(2, ["IPC_KILL_POINT=\(point)"]) == .signaled(.kill))
        #expect(try publish(3, []) == .exited(0))
        let counts = try kept(topic, disk)
        #expect(counts[1] == 50 && counts[3] == 50)
    }

    @Test func syncIsForDurableChannels() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        let error = failure { () throws(IPCError) in try publisher.sync() }
        #expect(error?.code == .unsupported && error?.advice.contains("durability") == true)
    }

    private final class Box {
        let child: ChildProcess
        init(_ child: consuming ChildProcess) { self.child = child }
    }
}
