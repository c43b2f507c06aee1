import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// Waits for any of several sources of different kinds in one call, blocking or asynchronous.
///
/// ```swift
/// let pipe = try AnonymousPipe()
/// var quotes = try Topic<UInt64>.openOrCreate("market/quotes").makeSubscription()
/// let set = try WaitSet()
/// let ready = try set.wait(until: .after(.seconds(1))) { (sources) throws(IPCError) in
///     sources.add(&quotes)                            // 0
///     sources.add(pipe.reader.descriptor)             // 1
/// }
/// if ready.contains(0), let quote = try quotes.tryReceive() { print(quote) }
/// ```
///
/// Sources are participants of channels, and descriptors: of pipes, sockets, listeners, message queues, signal sources, processes,
/// event counters, and anything else that `poll` accepts. Semaphores and mutexes have no descriptor. Only one wait at a time.
public struct WaitSet: ~Copyable, Sendable {
    private let poll: OwnedDescriptor
    private let wakeUp: ReadinessDescriptor

    /// - Parameter root: The root of the channels to wait for.
    public init(in root: ChannelRoot = .current) throws(IPCError) {
        let wakeUp = try ReadinessDescriptor(in: root)
        let raw = try systemCall { ipc_epoll_create() }.orThrow("epoll_create1", "wait set")
        poll = OwnedDescriptor(adopting: FileDescriptor(rawValue: raw))
        self.wakeUp = wakeUp
        _ = ipc_epoll_arm(raw, wakeUp.descriptor.rawValue, Int16(POLLIN), 0)
    }

    /// What to wait for on a descriptor.
    public enum Interest: Sendable { case readable, writable }

    /// The sources of a wait, numbered from 0 in the order in which they are added.
    public struct Sources {
        enum Source {
            case channel(ChannelReadiness)
            case descriptor(CInt, Interest)
        }

        var all: [Source] = []

        /// Adds a participant of a channel.
        public mutating func add<Participant: ChannelSource & ~Copyable>(_ participant: inout Participant) {
            all.append(.channel(participant.readiness()))
        }

        /// Adds a participant by its readiness.
        public mutating func add(_ readiness: ChannelReadiness) { all.append(.channel(readiness)) }

        /// Adds a descriptor, which must stay open during the wait. A descriptor in an error state counts as ready.
        public mutating func add(_ descriptor: FileDescriptor, for interest: Interest = .readable) {
            all.append(.descriptor(descriptor.rawValue, interest))
        }
    }

    /// Waits until one of the sources is ready. Blocks the thread.
    ///
    /// - Parameters:
    ///   - deadline: When to give up.
    ///   - describe: Adds the sources. Called once.
    /// - Returns: The numbers of the sources that are ready; empty if the deadline passed first.
    public borrowing func wait(
        until deadline: Deadline = .never, _ describe: (inout Sources) throws(IPCError) -> Void
    ) throws(IPCError) -> Set<Int> {
        var sources = Sources()
        try describe(&sources)
        return try withDescriptors(sources) { () throws(IPCError) in
            while true {
                let ready = try ready(sources)
                if !ready.isEmpty || deadline.hasPassed { return ready }
                _ = try Readiness.readable.wait(for: poll.descriptor.rawValue, until: deadline)
            }
        }
    }

    /// Waits until one of the sources is ready, with the task suspended.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func wait(
        until deadline: Deadline = .never, _ describe: (inout Sources) throws(IPCError) -> Void
    ) async throws(IPCError) -> Set<Int> {
        var sources = Sources()
        try describe(&sources)
        try begin(sources)
        defer { end(sources) }
        while true {
            let ready = try ready(sources)
            if !ready.isEmpty || deadline.hasPassed { return ready }
            do throws(IPCError) {
                try await Reactor.wait(
                    for: .readable, of: poll.descriptor.rawValue, until: deadline, "wait for", "a wait set")
            } catch {
                if error.code != .timedOut { throw error }
            }
        }
    }

    private borrowing func withDescriptors<Value>(
        _ sources: Sources, _ body: () throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try begin(sources)
        defer { end(sources) }
        return try body()
    }

    /// The sources that are ready now. If there are none, the channels are armed.
    private borrowing func ready(_ sources: Sources) throws(IPCError) -> Set<Int> {
        wakeUp.clear()
        var ready: Set<Int> = []
        for (index, source) in sources.all.enumerated() {
            guard case .channel(let readiness) = source else { continue }
            // Once one is ready, the others are only checked.
            if try ready.isEmpty ? !readiness.arm(wakeUp) : readiness.isReady { ready.insert(index) }
        }
        let found = foundDescriptors(upTo: sources.all.count + 1)
        for (index, source) in sources.all.enumerated() {
            guard case .descriptor(let descriptor, let interest) = source, let events = found[descriptor] else {
                continue
            }
            if events & (interest.events | Int16(POLLERR | POLLHUP)) != 0 { ready.insert(index) }
        }
        return ready
    }

    /// All descriptors that are ready. `epoll_wait` returns some at a time and continues with the others at the next call.
    private borrowing func foundDescriptors(upTo limit: Int) -> [CInt: Int16] {
        var all: [CInt: Int16] = [:]
        var descriptors = [CInt](repeating: 0, count: Self.atATime)
        var events = [Int16](repeating: 0, count: Self.atATime)
        for _ in 0...limit / Self.atATime {
            let count = unsafe ipc_epoll_wait(
                poll.descriptor.rawValue, &descriptors, &events, CInt(Self.atATime), 0)
            for index in 0..<Int(max(count, 0)) { all[descriptors[index], default: 0] |= events[index] }
            guard count == Self.atATime else { break }
        }
        return all
    }

    private static var atATime: Int { 64 }

    private borrowing func begin(_ sources: Sources) throws(IPCError) {
        for (descriptor, events) in Self.wanted(sources) {
            let result = ipc_epoll_arm(poll.descriptor.rawValue, descriptor, events, 0)
            guard result == 0 else {
                end(sources)
                throw IPCError(
                    "epoll_ctl", "descriptor \(descriptor)", Errno(rawValue: result),
                    advice: result == EPERM ? "a regular file cannot be waited for: it is always ready" : nil)
            }
        }
    }

    private borrowing func end(_ sources: Sources) {
        for (descriptor, _) in Self.wanted(sources) { _ = ipc_epoll_forget(poll.descriptor.rawValue, descriptor) }
    }

    private static func wanted(_ sources: Sources) -> [CInt: Int16] {
        var wanted: [CInt: Int16] = [:]
        for case .descriptor(let descriptor, let interest) in sources.all {
            wanted[descriptor, default: 0] |= interest.events
        }
        return wanted
    }
}

extension WaitSet.Interest {
    fileprivate var events: Int16 { Int16(self == .readable ? POLLIN : POLLOUT) }
}
