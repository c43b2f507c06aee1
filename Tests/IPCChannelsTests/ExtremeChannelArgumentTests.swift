import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Arguments of channels at the ends of their types: each call throws, or does what it can. None ends the process.
@Suite(.timeLimit(.minutes(5))) struct ExtremeChannelArgumentTests {
    private static let integers: [Int] = [.min, -1, 0, 1, 1025, 1 << 41, .max - 1, .max]

    private func refused(_ body: () throws(IPCError) -> Void) {
        if let error = failure(body) { #expect(!error.advice.isEmpty) }
    }

    @Test func optionsOutOfRangeAreRefusedByTheirValue() throws {
        for number in Self.integers where number <= 0 || number > 1 << 40 {
            for options in [
                ChannelOptions(capacity: number), ChannelOptions(maximumReaders: number),
                ChannelOptions(maximumWriters: number),
            ] {
                let error = failure { () throws(IPCError) in _ = try Topic<UInt64>.openOrCreate(channelName(), options)
                }
                #expect(error?.code == .invalidArgument && error?.advice.contains("\(number)") == true)
            }
            refused { () throws(IPCError) in
                _ = try WorkQueue<UInt64>.openOrCreate(channelName(), maximumAttempts: number)
            }
            refused { () throws(IPCError) in
                _ = try Event.openOrCreate(channelName(), EventOptions(maximumParticipants: number))
            }
            var latest = LatestOptions()
            latest.maximumReaders = number
            refused { () throws(IPCError) in _ = try Latest<UInt64>.openOrCreate(channelName(), latest) }
            var service = ServiceOptions()
            service.capacity = number
            refused { () throws(IPCError) in
                _ = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(channelName(), service)
            }
        }
    }

    private struct Refusal: Error, BitwiseCopyable { var code: Int32 }

    @Test func syncedEveryAnyNumberOfBytes() throws {
        for bytes in Self.integers {
            let name = channelName()
            let topic = try Topic<UInt64>.openOrCreate(
                name, ChannelOptions(durability: .syncedEvery(bytes: bytes), capacity: 65_536))
            defer { try? Topic<UInt64>.remove(name) }
            var publisher = try topic.makePublisher()
            try publisher.publish(7)
        }
    }

    @Test func startsAndSizesMayBeAnything() throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(capacity: 65_536))
        var publisher = try topic.makePublisher()
        for _ in 0..<3 { try publisher.publish(([1, 2, 3] as [UInt8]).span.bytes) }
        var other = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536)).makePublisher()
        for number in Self.integers {
            var subscription = try topic.makeSubscription(from: .last(number), waiting: .sleeping(spins: number))
            let count = try subscription.receiveAvailable(limit: number) { (_) throws(IPCError) in }
            #expect(count == (number > 0 ? min(number, 3) : 0))
            refused { () throws(IPCError) in
                let channel = subscription.position.channel
                _ = try topic.makeSubscription(
                    from: .position(ChannelPosition(channel: channel, offset: UInt64(bitPattern: Int64(number)))))
            }
            refused { () throws(IPCError) in
                try other.publish(upTo: number, until: .immediate) { (_) throws(IPCError) in }
            }
            var tap = try ChannelTap(name, from: .oldest)
            let message = try tap.next(limit: number)
            #expect(message?.byteCount == 3 && message?.bytes.count == max(0, min(number, 3)))
        }
    }

    @Test func noticesAttemptsAndRepliesMayBeAnyNumber() throws {
        let event = try Event.openOrCreate(channelName()).makeParticipant()
        for number in Self.integers { event.notify(count: number) }
        #expect(event.pending >= 0)
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        for number in Self.integers where number < 0 || number > 1 << 31 {
            refused { () throws(IPCError) in
                _ = try client.begin(([1] as [UInt8]).span.bytes, replyLimit: number, until: .immediate)
            }
            refused { () throws(IPCError) in
                _ = try client.begin(([1] as [UInt8]).span.bytes, replyLimit: 8, until: .immediate, retries: number)
            }
        }
    }

    @Test func aReplyOfFourGibibytesIsRefused() throws {
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        let pending = try client.begin(([1] as [UInt8]).span.bytes, replyLimit: 16, until: .after(.seconds(20)))
        // Its pages are never touched: it is too large to be copied.
        let large = mmap(nil, 5 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)!
        defer { munmap(large, 5 << 30) }
        let call = try server.next(until: .after(.seconds(20)))
        do throws(IPCError) {
            try call.reply(RawSpan(_unsafeStart: large, byteCount: 5 << 30))
            Issue.record("it was taken")
        } catch { #expect(error.code == .messageTooLarge) }
        do throws(IPCError) {
            _ = try pending.wait { (_) throws(IPCError) in }
            Issue.record("it was told of no error")
        } catch { #expect(error.code == .messageTooLarge) }
    }

    @Test func aFIFOInALogsPlaceIsRefusedAtOnce() throws {
        let root = "/tmp/\(uniqueName())"
        let place = ChannelRoot(FilePath(root))
        let topic = try Topic<UInt64>.openOrCreate("a", in: place, ChannelOptions(lifetime: .kept))
        defer {
            unlink(root + "/a/log")
            unlink(root + "/a/control")
            unlink(root + "/a/locks")
            unlink(root + "/a/schema")
            rmdir(root + "/a")
            unlink(root + "/.lock")
            rmdir(root)
        }
        unlink(root + "/a/log")
        #expect(mkfifo(root + "/a/log", 0o600) == 0)
        #expect(failure { () throws(IPCError) in _ = try ChannelTap("a", in: place) }?.code == .corrupted)
        #expect(failure { () throws(IPCError) in _ = try topic.makeSubscription() }?.code == .corrupted)
    }
}
