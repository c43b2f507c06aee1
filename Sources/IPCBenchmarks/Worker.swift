import CBaselines
import CIPCShims
import Glibc
import IPC
import SystemPackage

/// One of the two processes of a measurement: takes commands over a socket and runs the loops.
public enum Worker {
    static let controlDescriptor: CInt = 3
    static let resultsDescriptor: CInt = 4
    /// How many samples fit into the results.
    static let sampleCapacity = 1 << 20

    /// Runs until the coordinator closes the socket.
    ///
    /// - Parameters:
    ///   - isFirst: Whether this is the process that starts a round trip, and that produces.
    ///   - placement: Where it runs.
    public static func run(isFirst: Bool, placement: Placement) throws(IPCError) {
        ipc_die_with_parent()
        // As servers do; the C twin relies on it, so both write to pipes by the same call.
        ipc_ignore_signal(SIGPIPE)
        // The coordinator decides what Ctrl-C at the terminal means, and ends its workers.
        ipc_ignore_signal(SIGINT)
        // Blocked from the start: the other worker may send before this one has its signalfd.
        SignalSet([SignalLink.signal]).blockInCallingThread()
        if let processor = placement.processor(isFirst: isFirst) { ipc_set_affinity(CInt(processor)) }

        let control = try PacketSocket(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: controlDescriptor)))
        let memory = SharedMemory(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: resultsDescriptor)))
        let results = try memory.map(prefaulting: isFirst)

        var bytes = [UInt8](repeating: 0, count: 4096)
        var descriptors = ReceivedDescriptors()
        var elements = bytes.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let count = try control.receive(into: &buffer, descriptors: &descriptors)
        guard count > 0 else { return }
        guard let command = WorkerPacket<WorkerCommand>(bytes, count: count)?.record, command.action == .attach,
            Mechanism.allCases.indices.contains(Int(command.mechanism))
        else { throw Loops.corrupted }
        let mechanism = Mechanism.allCases[Int(command.mechanism)]
        let session = Session(control: control, results: results, mechanism: mechanism)
        do throws(IPCError) {
            try LinkFactory.withLink(mechanism, size: Int(command.size), isFirst: isFirst, &descriptors, session)
        } catch {
            try session.control.send(
                WorkerReply(outcome: .failed, isTooLarge: error.code == .messageTooLarge), text: error.description)
        }
    }
}

/// The commands after the first, with the link at hand.
private struct Session: LinkBody, ~Copyable {
    let control: PacketSocket
    let results: MemoryMapping
    let mechanism: Mechanism

    borrowing func run<L: Link & ~Copyable>(_ link: inout L, _ c: inout cb_link) throws(IPCError) {
        try control.send(WorkerReply(outcome: .ready))
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try receive(&bytes)
            guard let command = WorkerPacket<WorkerCommand>(bytes, count: count)?.record else { return }
            let before = processorTime()
            var reply = WorkerReply(outcome: .done)
            // Who waits for the other side says that it is there; then the other one starts.
            if [.echo, .consume, .consumePaced, .lineEcho].contains(command.action) {
                try link.prepare(forStream: [.consume, .consumePaced].contains(command.action))
                try control.send(WorkerReply(outcome: .ready))
            }
            if [.lineChoice, .linePing, .lineEcho].contains(command.action) {
                try runLine(command, &reply)
            } else if command.implementation == .c {
                try unsafe runC(command, &c, &reply)
            } else {
                link.progress = unsafe LinkProgress(
                    sent: c.sent, received: c.received, seenHead: c.seen_head, seenTail: c.seen_tail)
                if command.implementation == .async {
                    try runAsync(command, &link, &reply)
                } else {
                    try runSwift(command, &link, &reply)
                }
                unsafe (c.sent, c.received) = (link.progress.sent, link.progress.received)
                unsafe (c.seen_head, c.seen_tail) = (link.progress.seenHead, link.progress.seenTail)
            }
            if [.produce, .producePaced].contains(command.action) { try link.endStream() }
            reply.processorTime = processorTime() - before
            try control.send(reply)
        }
    }

    private borrowing func receive(_ bytes: inout [UInt8]) throws(IPCError) -> Int {
        var elements = bytes.mutableSpan
        var buffer = unsafe elements.mutableBytes
        return try control.receive(into: &buffer)
    }

    private borrowing func samples(_ count: UInt64) -> UnsafeMutablePointer<UInt64> {
        unsafe results.pointer(at: 0, byteCount: Int(count) * 8).assumingMemoryBound(to: UInt64.self)
    }

    private borrowing func runSwift<L: Link & ~Copyable>(
        _ command: WorkerCommand, _ link: inout L, _ reply: inout WorkerReply
    ) throws(IPCError) {
        let count = command.count
        switch command.action {
        case .ping: try unsafe Loops.ping(&link, count, samples(count))
        case .echo: try Loops.echo(&link, count)
        case .produce: try Loops.produce(&link, count)
        case .producePaced: try Loops.produce(&link, count, start: command.start, interval: command.interval)
        case .consume:
            (reply.elapsed, reply.received) = try Loops.consume(&link, count, isLossy: mechanism.isLossy)
        case .consumePaced:
            reply.received = try unsafe Loops.consumePaced(
                &link, count, isLossy: mechanism.isLossy, start: command.start, interval: command.interval,
                base: [.eventfd, .event].contains(mechanism) ? link.progress.received : 0, samples(count))
        case .attach, .lineChoice, .linePing, .lineEcho: break
        }
    }

    /// The same by asynchronous calls, on the thread of an event loop. This one waits for it.
    private borrowing func runAsync<L: Link & ~Copyable>(
        _ command: WorkerCommand, _ link: inout L, _ reply: inout WorkerReply
    ) throws(IPCError) {
        let round = unsafe AsyncRound(
            command: command, isLossy: mechanism.isLossy,
            base: [.eventfd, .event].contains(mechanism) ? link.progress.received : 0,
            samples: Lent(samples(min(command.count, UInt64(Worker.sampleCapacity)))))
        let polls = mechanism.isPolled
        let outcome = unsafe try withUnsafeMutablePointer(to: &link) { (pointer) throws(IPCError) in
            let link = unsafe Lent(pointer)
            return try EventLoop.running(polls: polls) { () async throws(IPCError) in
                unsafe try await link.pointer.pointee.run(round)
            }
        }
        (reply.elapsed, reply.received) = (outcome.elapsed, outcome.received)
    }

    private borrowing func runLine(_ command: WorkerCommand, _ reply: inout WorkerReply) throws(IPCError) {
        // The samples come first in the results; the lines lie behind them.
        let lines = unsafe results.pointer(at: Worker.sampleCapacity * 8, byteCount: Int(CB_LINE_BYTES))
        var number: CUnsignedInt = 0
        let result =
            switch command.action {
            case .lineChoice: unsafe cb_line_choose(lines, command.interval, &number)
            case .linePing: unsafe cb_line_ping(lines, command.loop?.number ?? 0, command.count, samples(command.count))
            default: unsafe cb_line_echo(lines)
            }
        guard result == 0 else { throw IPCError("cache line", mechanism.rawValue, Errno(rawValue: result)) }
        reply.loop = LineLoop(number: number)
    }

    private borrowing func runC(_ command: WorkerCommand, _ c: inout cb_link, _ reply: inout WorkerReply)
        throws(IPCError)
    {
        let count = command.count
        let lossy: CInt = mechanism.isLossy ? 1 : 0
        let result =
            switch command.action {
            case .ping: unsafe cb_ping(&c, count, samples(count))
            case .echo: unsafe cb_echo(&c, count)
            case .produce: unsafe cb_produce(&c, count)
            case .producePaced: unsafe cb_produce_paced(&c, count, command.start, command.interval)
            case .consume: unsafe cb_consume(&c, count, lossy, &reply.elapsed, &reply.received)
            case .consumePaced:
                unsafe cb_consume_paced(
                    &c, count, lossy, command.start, command.interval, samples(count), &reply.received)
            case .attach, .lineChoice, .linePing, .lineEcho: CInt(0)
            }
        guard result != CInt(CB_CORRUPTED) else { throw Loops.corrupted }
        guard result == 0 else { throw IPCError("C loop", mechanism.rawValue, Errno(rawValue: result)) }
    }

    /// Processor time of this process so far, in nanoseconds.
    private borrowing func processorTime() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension EventLoop {
    private static let shared = Result { () throws(IPCError) in try EventLoop() }

    /// Runs a task while this thread waits for it: on an event loop, or, if it never sleeps, on a thread of Swift's pool,
    /// where calls that do not suspend cost less.
    fileprivate static func running<Value: Sendable>(
        polls: Bool, _ body: @escaping @Sendable () async throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        let done = SharedReference(try EventCounter())
        let outcome = Outcome<Value>()
        let operation = { @Sendable in
            do throws(IPCError) { outcome.result = .success(try await body()) } catch {
                outcome.result = .failure(error)
            }
            try? done.value.add()
        }
        // Not a preference for nothing, which costs as much as one.
        if polls {
            Task(operation: operation)
        } else {
            Task(executorPreference: try shared.get(), operation: operation)
        }
        _ = try done.value.take()
        return try outcome.result!.get()
    }

    /// Written by the task, and read once it has ended.
    private final class Outcome<Value>: @unchecked Sendable { var result: Result<Value, IPCError>? }
}
