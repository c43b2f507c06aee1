import IPC
import IPCChannels
import Synchronization
import TestSupport
import Testing

private final class Taken: Sendable {
    let count = Atomic(0)
}

/// A carrier learns of notices without taking them, and what it adds is told apart.
@Suite(.timeLimit(.minutes(1))) struct EventCarryingTests {
    private func any(_ event: Event) throws -> AnyChannel { try AnyChannel.open(event.name.description) }

    /// Whether nothing is noticed for a while.
    private func isQuiet(_ observer: inout ChannelReader, after counts: EventCounts) async throws -> Bool {
        do throws(IPCError) {
            _ = try await observer.waitForNotices(after: counts, until: .after(.milliseconds(50)))
            return false
        } catch {
            return error.code == .timedOut
        }
    }

    @Test func noticesAreCountedAndNotTaken() async throws {
        let event = try Event.create(channelName())
        let participant = try event.makeParticipant()
        participant.notify(count: 5)
        var observer = try any(event).makeReader()
        var counts = try observer.eventCounts()
        #expect(counts.notices == 5 && counts.notificationsToAll == 0)
        participant.notify(count: 2)
        let isTaken = participant.tryWait()
        #expect(isTaken)
        participant.notifyAll()
        counts = try await observer.waitForNotices(after: counts, until: .after(.seconds(5)))
        #expect(counts.notices == 7 && counts.notificationsToAll == 1)
        #expect(participant.pending == 6)
        #expect(try ChannelDescription(event.name).pendingNotices == 6)
        for _ in 0..<6 { try await participant.wait(until: .immediate) }
        #expect(participant.pending == 0)
        let quiet = try await isQuiet(&observer, after: counts)
        #expect(quiet)
    }

    @Test func whatIsCarriedEndsWaitsAndIsNotCounted() async throws {
        let event = try Event.create(channelName())
        let participant = try event.makeParticipant()
        var observer = try any(event).makeReader()
        var writer = try any(event).makeWriter()
        let counts = try observer.eventCounts()
        try writer.notifyCarried(count: 3)
        try await participant.wait(until: .after(.seconds(5)))
        #expect(participant.pending == 2)
        let waiting = Task {
            let other = try event.makeParticipant()
            while other.tryWait() {}
            try await waitOnce(other)
        }
        try await Task.sleep(for: .milliseconds(100))
        try writer.notifyAllCarried()
        try await waiting.value
        #expect(try observer.eventCounts() == counts)
        let quiet = try await isQuiet(&observer, after: counts)
        #expect(quiet)
        participant.notify()
        let more = try await observer.waitForNotices(after: counts, until: .after(.seconds(5)))
        #expect(more.notices == 1 && more.notificationsToAll == 0)
    }

    private func waitOnce(_ participant: borrowing Event.Participant) async throws {
        try await participant.wait(until: .after(.seconds(10)))
    }

    @Test func aSleepingCarrierIsWokenByEachKindOfNotice() async throws {
        let event = try Event.create(channelName())
        let participant = try event.makeParticipant()
        for isForAll in [false, true] {
            let reader = try any(event)
            let waiting = Task {
                var observer = try reader.makeReader()
                let counts = try observer.eventCounts()
                return try await observer.waitForNotices(after: counts, until: .after(.seconds(10)))
            }
            try await Task.sleep(for: .milliseconds(100))
            if isForAll { participant.notifyAll() } else { participant.notify() }
            let counts = try await waiting.value
            #expect(counts.notices == 1 && counts.notificationsToAll == (isForAll ? 1 : 0))
        }
    }

    @Test func nothingIsCountedTwiceOrMissedWhileCarriersAndOthersNotify() async throws {
        let event = try Event.create(channelName())
        let channel = try any(event)
        let count = 20_000
        let taken = Taken()
        var observer = try channel.makeReader()
        var known = try observer.eventCounts()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let participant = try event.makeParticipant()
                for number in 0..<count {
                    participant.notify()
                    if number % 64 == 0 { await Task.yield() }
                }
            }
            group.addTask {
                var writer = try channel.makeWriter()
                for number in 0..<count {
                    try writer.notifyCarried()
                    if number % 64 == 0 { await Task.yield() }
                }
            }
            for _ in 0..<2 {
                group.addTask {
                    let participant = try event.makeParticipant()
                    while taken.count.load(ordering: .relaxed) < 2 * count {
                        if participant.tryWait() { taken.count.add(1, ordering: .relaxed) } else { await Task.yield() }
                    }
                }
            }
            while known.notices < count {
                let counts = try await observer.waitForNotices(after: known, until: .after(.seconds(20)))
                #expect(counts.notices > known.notices)
                known = counts
            }
            try await group.waitForAll()
        }
        #expect(try observer.eventCounts().notices == count)
        #expect(taken.count.load(ordering: .relaxed) == 2 * count)
        #expect(try ChannelDescription(event.name).pendingNotices == 0)
    }

    @Test func otherPatternsAreRefused() async throws {
        let topic = try Topic<UInt64>.create(channelName())
        let channel = try AnyChannel.open(topic.name.description)
        let reader = try channel.makeReader()
        var writer = try channel.makeWriter()
        let errors = [
            failure { () throws(IPCError) in _ = try reader.eventCounts() },
            failure { () throws(IPCError) in try writer.notifyCarried() },
            failure { () throws(IPCError) in try writer.notifyAllCarried() },
        ]
        #expect(errors.allSatisfy { $0?.code == .wrongType })
    }
}
