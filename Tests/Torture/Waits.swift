import Glibc
import IPC
import IPCChannels

/// The ways to wait for a participant of a channel that are not its own calls.
final class Waits: Sendable {
    private let way: Way
    private let set: WaitSet?
    private let bell: ReadinessDescriptor?

    init(_ way: Way) throws(IPCError) {
        self.way = way
        set = way == .set || way == .setTask ? try WaitSet() : nil
        bell = way == .bell ? try ReadinessDescriptor() : nil
    }

    /// Waits until what `make` describes is probably ready; polls where the way is to poll.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    nonisolated(nonsending) func wait(
        until deadline: Deadline, _ make: () throws(IPCError) -> ChannelReadiness
    ) async throws(IPCError) {
        if deadline.hasPassed { throw .timedOut("wait", "\(way)") }
        switch way {
        case .set: try waitBlocking(until: deadline, make)
        case .setTask:
            if set == nil { return }
            let ready = try await set!.wait(until: deadline) { (sources) throws(IPCError) in sources.add(try make()) }
            if ready.isEmpty { throw .timedOut("wait", "an asynchronous wait set") }
        case .bell: try waitForBell(until: deadline, make)
        case .spin: sched_yield()
        case .poll, .block, .task: usleep(100)
        }
    }

    private func waitBlocking(
        until deadline: Deadline, _ make: () throws(IPCError) -> ChannelReadiness
    ) throws(IPCError) {
        if set == nil { return }
        let ready = try set!.wait(until: deadline) { (sources) throws(IPCError) in sources.add(try make()) }
        if ready.isEmpty { throw .timedOut("wait", "a wait set") }
    }

    private func waitForBell(
        until deadline: Deadline, _ make: () throws(IPCError) -> ChannelReadiness
    ) throws(IPCError) {
        guard let bell else { return }
        bell.clear()
        guard try make().arm(bell) else { return }
        var entry = pollfd(fd: bell.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        let left = deadline.remaining.map { Int32($0 / .milliseconds(1)) + 1 } ?? -1
        if poll(&entry, 1, left) == 0 { throw .timedOut("wait", "a bell") }
    }
}
