import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// A container may have a monotonic clock of its own.
@Suite(.enabled(if: getuid() == 0, "only root makes a time namespace"), .timeLimit(.minutes(5)))
struct TimeNamespaceTests {
    @Test(arguments: ["-100000", "0", "100000"])
    func aServerSeesTheCallersDeadlineOnItsOwnClock(seconds: String) throws {
        // A namespace cannot set the clock below zero.
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let shift = max(Int(seconds)!, 60 - now.tv_sec)
        let name = channelName()
        let service = try ServiceChannel<UInt64, UInt64, CommandFailure>.openOrCreate(name)
        let peer = try Peer(
            "unshare", ["--time", "--monotonic=\(shift)", product("ChannelPeer"), "tell-deadline", name])
        #expect(try peer.said() == "ready\n")
        var client = try service.makeClient()
        let left = try client.call(1, until: .after(.seconds(60))).get()
        #expect(left > 30 && left <= 60)
        let (status, _) = try peer.finish()
        #expect(status == .exited(0))
    }
}
