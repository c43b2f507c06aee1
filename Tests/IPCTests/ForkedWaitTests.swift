import Glibc
import IPC
import TestSupport
import Testing

/// A child of `fork` that does not exec has no part in what its parent's asynchronous calls wait with, and has its own.
@Suite(.timeLimit(.minutes(5))) struct ForkedWaitTests {
    @Test func aChildWaitsInAllWaysAndHarmsNoWaitOfItsParents() throws {
        let (status, text) = try Peer.role("fork-after-waits").finish(within: .seconds(150))
        #expect(status == .exited(0))
        #expect(
            text == """
                before: timedOut opened timedOut 1 1 1 1 1
                child: timedOut opened
                child, its own: timedOut 1 1 1 1 1
                child, its parent's loop: timedOut 1 1 1
                child ended: 0
                parent: 1 1 1 1 1
                after: true timedOut 1 1 1 1 1

                """, "\(text)")
    }

    @Test func aForkOnTheThreadOfALoopLeavesBothTheirTasks() throws {
        let (status, text) = try Peer.role("fork-on-loop").finish(within: .seconds(100))
        #expect(status == .exited(0))
        // What the child got, as its exit code.
        #expect(text == "parent: 1 1 1\nended: true\nchild ended: \(20 << 8)\n", "\(text)")
    }
}
