import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct MessageQueueTests {
    @Test func thePriorityDecidesAndThenTheOrder() throws {
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 5, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        for (text, priority) in [("a", 1), ("b", 7), ("c", 1), ("d", 7), ("e", 32_767)] as [(String, UInt32)] {
            try queue.send(text.utf8.span.bytes, priority: priority)
        }
        var order = ""
        for _ in 0..<5 { order += String(decoding: try queue.receive().bytes, as: UTF8.self) }
        #expect(order == "ebdac")
        #expect(MessageQueue.priorities == 0...32_767)
        let bad = failure { () throws(IPCError) in try queue.send([UInt8]().span.bytes, priority: 40_000) }
        #expect(bad?.advice.contains("priority 40000") == true)
    }

    @Test func fullAndEmptyQueuesHaveDeadlines() throws {
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 1, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        #expect(try queue.trySend(([1] as [UInt8]).span.bytes))
        #expect(try !queue.trySend(([2] as [UInt8]).span.bytes))
        let full = failure { () throws(IPCError) in
            try queue.send(([2] as [UInt8]).span.bytes, until: .after(.milliseconds(20)))
        }
        #expect(full?.code == .timedOut && full?.advice.contains("1 messages") == true)
        #expect(try queue.waitForMessage(until: .immediate))
        let attributes = try queue.attributes
        #expect(attributes.currentMessages == 1 && attributes.maximumMessages == 1 && attributes.messageSize == 16)
        _ = try queue.receive()
        let empty = failure { () throws(IPCError) in _ = try queue.receive(until: .after(.milliseconds(20))) }
        #expect(empty?.code == .timedOut)
        #expect(try !queue.waitForMessage(until: .immediate))
    }

    @Test func whatIsTooLargeIsExplained() throws {
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 1, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        let large = failure { () throws(IPCError) in try queue.send([UInt8](repeating: 0, count: 17).span.bytes) }
        #expect(large?.code == .messageTooLarge && large?.advice.contains("16") == true)
        try queue.send(([5] as [UInt8]).span.bytes)
        let small = failure { () throws(IPCError) in
            _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in try queue.receive(into: &buffer).byteCount }
        }
        #expect(small?.code == .messageTooLarge)
        let kept = try queue.attributes.currentMessages
        #expect(kept == 1)
    }

    @Test func theSystemsLimitsAreNamedWithTheirSetting() {
        let size = failure { () throws(IPCError) in
            _ = try MessageQueue.create(uniqueName(), maximumMessages: 1, messageSize: 1 << 26)
        }
        #expect(size?.code == .limitReached)
        #expect(size?.advice.contains("fs.mqueue.msgsize_max") == true)
        let count = failure { () throws(IPCError) in
            _ = try MessageQueue.create(uniqueName(), maximumMessages: 1 << 20, messageSize: 8)
        }
        #expect(count?.advice.contains("fs.mqueue.msg_max") == true)
    }

    @Test func theUsersLimitIsNotTakenForTheNumberOfDescriptors() throws {
        let peer = try Peer.role("queue-limit", uniqueName())
        let (_, text) = try peer.finish()
        #expect(text.hasPrefix("limitReached") && text.contains("ulimit -q") && text.contains("may have 1000 in total"))
    }

    @Test func accessIsKept() throws {
        let name = uniqueName()
        _ = try MessageQueue.create(name, maximumMessages: 1, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        let reader = try MessageQueue.open(name, access: .readOnly)
        let error = failure { () throws(IPCError) in try reader.send(([1] as [UInt8]).span.bytes) }
        #expect(error?.code == .permissionDenied)
        let none = failure { () throws(IPCError) in _ = try MessageQueue.open(uniqueName()) }
        #expect(none?.code == .notFound)
        let file = try FileDescriptor.open("/dev/null", .readOnly)
        let wrong = failure { () throws(IPCError) in _ = try MessageQueue(adopting: OwnedDescriptor(adopting: file)) }
        #expect(wrong?.code == .wrongType)
    }

    @Test func anUnlinkedQueueLivesUntilItsLastClose() throws {
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 1, messageSize: 16)
        try MessageQueue.unlink(name)
        try queue.send(([3] as [UInt8]).span.bytes)
        #expect(try queue.receive().bytes == [3])
    }

    @Test func theFirstMessageIsToldByASignal() throws {
        let peer = try Peer.role("notification", uniqueName())
        let (_, text) = try peer.finish()
        #expect(text == "SIGRTMIN+1 42\n")
    }

    @Test func anExistingQueueKeepsItsAttributes() throws {
        let name = uniqueName()
        let first = try MessageQueue.create(name, maximumMessages: 2, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        let again = failure { () throws(IPCError) in _ = try MessageQueue.create(name) }
        #expect(again?.code == .alreadyExists)
        let second = try MessageQueue.openOrCreate(name)
        let attributes = (try first.attributes, try second.attributes)
        #expect(attributes.0 == attributes.1 && attributes.1.messageSize == 16)
    }

    @Test func onlyOneProcessMayAskForNotification() throws {
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 1, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        try queue.requestNotification(.probe)
        let second = failure { () throws(IPCError) in try queue.requestNotification(.probe) }
        #expect(second?.code == .addressInUse)
        try queue.cancelNotification()
    }

    @Test func aSenderKilledInTheMiddleLeavesWholeMessages() throws {
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 4, messageSize: 64)
        defer { try? MessageQueue.unlink(name) }
        let peer = try Peer.role("write-forever", "queue", descriptors: [3: queue.descriptor])
        for _ in 0..<10_000 { #expect(try queue.receive(until: .after(.seconds(10))).bytes.count == 64) }
        try peer.kill()
        while try queue.waitForMessage(until: .immediate) { #expect(try queue.receive().bytes.count == 64) }
    }
}
