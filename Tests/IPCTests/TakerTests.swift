import IPC
import TestSupport
import Testing

/// Calls that never wait, by two threads at once for one thing at a time: the one that comes too late does not wait either.
@Suite(.timeLimit(.minutes(5))) struct TakerTests {
    @Test func whoComesTooLateDoesNotWait() throws {
        let (status, text) = try Peer.role("two-takers").finish(within: .seconds(200))
        let names = [
            "pipe", "FIFO", "stream", "packets", "datagrams", "UDP", "connections", "packet connections",
            "message queue", "counter", "counter of ones", "semaphore",
        ]
        #expect(status == .exited(0) && text == names.map { $0 + ": done\n" }.joined(), "\(text)")
    }
}
