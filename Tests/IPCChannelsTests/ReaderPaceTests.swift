@testable import IPC
@testable import IPCChannels
import Testing

/// How long a reader looks at nothing: no less than it says, and nothing at all between single messages.
@Suite(.timeLimit(.minutes(10))) struct ReaderPaceTests {
    /// The median of the nanoseconds that each of these took, over several runs, some of which are interrupted.
    private func stays(_ bursts: [UInt64], isOneMessage: Bool = false, capacity: Int = 1 << 20) -> [UInt64] {
        let runs = (0..<201).map { _ in
            var pace = ReaderPace(0)
            return bursts.map { burst in
                let start = MonotonicClock.now
                pace.catchUp(at: pace.position + burst, isOneMessage: isOneMessage, capacity: capacity)
                return MonotonicClock.now - start
            }
        }
        return bursts.indices.map { index in runs.map { $0[index] }.sorted()[100] }
    }

    @Test(arguments: [96, 1 << 20] as [UInt64])
    func betweenSingleMessagesItNeverStays(size: UInt64) {
        #expect(stays([UInt64](repeating: size, count: 100), isOneMessage: true).allSatisfy { $0 < 1000 })
    }

    @Test func inAStreamItStaysFromTimeToTime() {
        let times = stays([UInt64](repeating: 192, count: 66))
        // 22 bursts are more than 4 KiB.
        for (index, time) in times.enumerated() {
            #expect(index % 22 == 21 ? time >= 1000 : time < 1000, "\(index): \(time) ns")
        }
    }

    @Test func aFastStreamIsGivenALongerStart() {
        let times = stays([UInt64](repeating: 100_000, count: 6))
        #expect(times[0] >= 1000 && times[5] >= 8000 && times[5] < 16_000, "\(times)")
        // But not one that would fill the log, or the cache, meanwhile.
        let full = stays([UInt64](repeating: 100_000, count: 6), capacity: 65_536)
        let large = stays([UInt64](repeating: 300_000, count: 6), capacity: 1 << 24)
        for time in full + large { #expect(time >= 1000 && time < 2000) }
    }
}
