import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// The same engine between threads of one process, where the thread sanitizer sees both sides.
@Suite(.timeLimit(.minutes(10))) struct ThreadTests {
    @Test(arguments: [(ChannelOptions.Writers.exclusive, 1), (.shared, 3)])
    func threadsAreParticipantsToo(writers: ChannelOptions.Writers, count: Int) throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(writers: writers, capacity: 65_536))
        let perWriter: UInt64 = 20_000
        let sums = (0..<2).map { _ in Sum() }
        var threads: [PlainThread] = []
        for result in sums {
            var subscription = try topic.makeSubscription()
            let total = perWriter * UInt64(count)
            threads.append(
                try PlainThread { () throws(IPCError) in
                    var sum: UInt64 = 0
                    for _ in 0..<total { sum &+= try subscription.receive(until: .after(.seconds(60))) }
                    result.value = sum
                })
        }
        for _ in 0..<count {
            var publisher = try topic.makePublisher()
            threads.append(
                try PlainThread { () throws(IPCError) in
                    for number in 0..<perWriter { try publisher.publish(number, until: .after(.seconds(60))) }
                })
        }
        for thread in threads { #expect(thread.join() == nil) }
        let expected = UInt64(count) * (perWriter * (perWriter - 1) / 2)
        #expect(sums.map(\.value) == [expected, expected])
    }
}

/// Written by a thread, and read once it was waited for. Not under Swift's `Mutex`, which the thread sanitizer does not know.
private final class Sum: @unchecked Sendable { var value: UInt64 = 0 }
