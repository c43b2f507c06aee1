import IPC
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct AllocationTests {
    @Test func noWayOfSendingAllocates() throws {
        _ = channelRoot
        let peer = try Peer.role("allocations")
        let (status, text) = try peer.finish()
        #expect(status == .exited(0))
        let lines = text.split(separator: "\n")
        #expect(lines.count == 23)
        // A sanitizer has its own allocator, and counts nothing.
        for line in lines { #expect(line.hasSuffix(" 0"), "\(line) allocations in 1000 rounds") }
    }
}
