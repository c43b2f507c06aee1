import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// Waits for any of several sources of different kinds in one call, blocking or asynchronous.
///
/// ```swift
/// let pipe = try AnonymousPipe()
/// var quotes = try Topic<UInt64>.create("market/quotes").subscribe()
/// let set = try WaitSet()
/// let ready = try set.wait(until: .after(.seconds(1))) { (sources) throws(IPCError) in
///     sources.add(&quotes)                            // 0
///     sources.add(pipe.reader.descriptor)             // 1
/// }
/// if ready.contains(0), let quote = try quotes.tryReceive() { print(quote) }
/// ```
///
/// Sources are channels' participants, and descriptors: of pipes, sockets, listeners, message queues, signal sources,
/// processes, event counters, and all else that `poll` takes. Semaphores and mutexes have none. One wait at a time.
public struct WaitSet: ~Copyable, Sendable {
    private let poll: OwnedDescriptor
    private let bell: ChannelBell

    /// - Parameter root: Where the channels are.
    public init(in root: ChannelRoot = .current) throws(IPCError) {
        let bell = try ChannelBell(in: root)
        let raw = try systemCall { ipc_epoll_create() }.orThrow("epoll_create1", "wait set")
        poll = OwnedDescriptor(adopting: FileDescriptor(rawValue: raw))
        self.bell = bell
        _ = ipc_epoll_arm(raw, bell.descriptor.rawValue, Int16(POLLIN), 0)
    }

    /// What a descriptor is waited for.
    public enum Interest: Sendable { case readable, writable }

    /// What is waited for. Sources are numbered from 0 in the order in which they are added.
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

        /// Adds what a participant waits for.
        public mutating func add(_ readiness: ChannelReadiness) { all.append(.channel(readiness)) }

        /// Adds a descriptor, which stays open during the wait. One that is broken counts as ready.
        public mutating func add(_ descriptor: FileDescriptor, for interest: Interest = .readable) {
            all.append(.descriptor(descriptor.rawValue, interest))
        }
    }

    /// Waits until one of the sources is ready.
    ///
    /// - Parameter describe: Adds the sources. Called once.
    /// - Returns: The numbers of those that are ready. Empty if the deadline passed first.
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

    /// Waits until one of the sources is ready, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``.
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

    /// Those that are ready now. If there is none, the channels are armed.
    private borrowing func ready(_ sources: Sources) throws(IPCError) -> Set<Int> {
        bell.clear()
        var ready: Set<Int> = []
        for (index, source) in sources.all.enumerated() {
            guard case .channel(let readiness) = source else { continue }
            // Once there is something, the others are only asked.
            if try ready.isEmpty ? !readiness.arm(bell) : readiness.isReady { ready.insert(index) }
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

    /// All that are ready, however many: the kernel tells some at a time, and goes on with the others at the next call.
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
