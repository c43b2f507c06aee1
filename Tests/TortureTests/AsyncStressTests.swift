import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Very many asynchronous waits, each kind in a process of its own. `IPC_TORTURE=5` for the full numbers: 10,000 idle
/// subscriptions, a million cancellations.
@Suite(.timeLimit(.minutes(20))) struct AsyncStressTests {
    private static let scale = min(getenv("IPC_TORTURE").flatMap { Int(String(cString: $0)) } ?? 1, 5)

    private static func peer(_ arguments: [String]) throws -> String {
        let peer = try Peer(product("ChannelPeer"), arguments)
        let (status, text) = try peer.finish(within: .seconds(300))
        #expect(status == .exited(0))
        return text
    }

    /// The numbers in a line.
    private static func numbers(_ text: String) -> [Int] { text.split { " \n".contains($0) }.compactMap { Int($0) } }

    @Test func idleSubscriptionsTakeNoProcessorTime() throws {
        let count = 2000 * Self.scale
        let text = try Self.peer(["idle", channelName(), "\(count)", "3"])
        let figures = Self.numbers(text)
        try #require(figures.count == 2, "\(text)")
        // 0.05 % of three seconds, which rounds to 0.0.
        #expect(figures[0] < 1500, "microseconds of processor time in 3 s")
        #expect(figures[1] / count < 20, "kilobytes for each subscription")
    }

    /// Eight of each kind wait, which would block every thread of the pool if one did. Other tests keep the machine busy at
    /// first, so it goes on until a try was not disturbed.
    @Test func noCallBlocksAThreadOfThePool() throws {
        var least = Int.max
        for _ in 0..<30 where least >= 10_000 {
            let text = try Self.peer(["pool", channelName()])
            least = min(least, try #require(Self.numbers(text).first))
        }
        #expect(least < 10_000, "microseconds")
    }

    @Test func aStormOfCancellationsLosesNothing() throws {
        let text = try Self.peer(["storm", channelName(), "\(Self.scale == 5 ? 1_000_000 : 40_000)"])
        let figures = Self.numbers(text)
        try #require(figures.count == 3 && !text.contains("lost"), "\(text)")
        // One or two that the system makes once.
        #expect(figures[0] < 5, "descriptors")
        #expect(figures[1] < 20_000, "kilobytes")
    }
}
