import CBaselines
import IPC
import SystemPackage

/// The two processes of a measurement, as the coordinator sees them. They end with it, however it ends.
struct WorkerPair: ~Copyable {
    private let first: ChildProcess
    private let second: ChildProcess
    private let firstControl: PacketSocket
    private let secondControl: PacketSocket
    private let results: MemoryMapping
    private let interruption: Interruption

    /// Starts both workers and hands them the link.
    ///
    /// - Parameter executable: The program that runs ``Worker/run(isFirst:placement:)`` when it is given these arguments.
    static func start(
        _ mechanism: Mechanism, size: Int, log: Int, placement: Placement, executable: WorkerExecutable,
        _ interruption: Interruption
    ) throws(IPCError) -> WorkerPair {
        let resources = try LinkResources.make(mechanism, size: size, log: log)
        let memory = try AnonymousMemory(byteCount: Worker.sampleCapacity * 8 + Int(CB_LINE_BYTES))
        let results = try memory.map()
        let firstPair = try PacketSocket.makePair()
        let secondPair = try PacketSocket.makePair()
        func start(_ isFirst: Bool, _ control: FileDescriptor) throws(IPCError) -> ChildProcess {
            try ChildProcess(
                executable.path, executable.arguments(isFirst, placement),
                descriptors: [Worker.controlDescriptor: control, Worker.resultsDescriptor: memory.descriptor])
        }
        let first = try start(true, firstPair.second.descriptor)
        let second = try start(false, secondPair.second.descriptor)
        let pair = WorkerPair(
            first: first, second: second, firstControl: firstPair.closingSecond(),
            secondControl: secondPair.closingSecond(), results: results, interruption: interruption)
        try pair.attach(resources, mechanism, size)
        return pair
    }

    private func attach(_ resources: borrowing LinkResources, _ mechanism: Mechanism, _ size: Int) throws(IPCError) {
        let attach = WorkerCommand(
            action: .attach, mechanism: UInt8(Mechanism.allCases.firstIndex(of: mechanism)!), size: UInt64(size))
        let isSignal = mechanism == .signal  // each gets a handle of the other, to send to
        try firstControl.send(attach, descriptors: isSignal ? [second.handle.descriptor] : resources.first)
        try secondControl.send(attach, descriptors: isSignal ? [first.handle.descriptor] : resources.second)
        _ = try reply(from: firstControl)
        _ = try reply(from: secondControl)
    }

    /// Round trips; returns their times in nanoseconds.
    func ping(_ count: Int, _ implementation: Implementation) throws(IPCError) -> [UInt64] {
        try run(WorkerCommand(action: .ping, implementation: implementation, count: UInt64(count)), .echo)
        return samples(count)
    }

    /// Which loop sends a cache line to and fro the fastest, between these two: all are tried, within 0.12 s.
    func fastestLineLoop() throws(IPCError) -> LineLoop {
        let (reply, _) = try run(
            WorkerCommand(action: .lineChoice, implementation: .c, interval: 120_000_000), .lineEcho)
        guard let loop = reply.loop else { throw Loops.corrupted }
        return loop
    }

    /// Round trips of a cache line, without any mechanism.
    func linePing(_ count: Int, _ loop: LineLoop) throws(IPCError) -> [UInt64] {
        try run(
            WorkerCommand(action: .linePing, implementation: .c, count: UInt64(count), loop: loop), .lineEcho)
        return samples(count)
    }

    /// One way as fast as possible; returns the time between the first and the last message, and how many came.
    func stream(_ count: Int, _ implementation: Implementation) throws(IPCError) -> (elapsed: UInt64, received: UInt64)
    {
        let (_, reply) = try run(
            WorkerCommand(action: .produce, implementation: implementation, count: UInt64(count)), .consume)
        return (reply.elapsed, reply.received)
    }

    /// One way at a fixed rate; returns each message's age on arrival, and processor time of both sides in all.
    func paced(_ count: Int, interval: UInt64, _ implementation: Implementation) throws(IPCError) -> (
        ages: [UInt64], processorTime: UInt64
    ) {
        let (sender, receiver) = try run(
            WorkerCommand(
                action: .producePaced, implementation: implementation, count: UInt64(count),
                start: MonotonicClock.now + 5_000_000,
                interval: interval), .consumePaced)
        return (samples(Int(receiver.received)), sender.processorTime + receiver.processorTime)
    }

    /// Tells the second to wait for the first, then the first to start; returns what each says at its end.
    @discardableResult
    private func run(
        _ command: WorkerCommand, _ answering: WorkerCommand.Action
    ) throws(IPCError) -> (first: WorkerReply, second: WorkerReply) {
        var other = command
        other.action = answering
        try secondControl.send(other)
        _ = try reply(from: secondControl)
        try firstControl.send(command)
        // Whichever fails first is heard first: the other one may wait for it for ever.
        while true {
            if try Readiness.readable.wait(for: firstControl.descriptor.rawValue, until: .after(.milliseconds(50))) {
                let first = try reply(from: firstControl)
                return (first, try reply(from: secondControl))
            }
            try interruption.check()
            if try Readiness.readable.wait(for: secondControl.descriptor.rawValue, until: .immediate) {
                let second = try reply(from: secondControl)
                return (try reply(from: firstControl), second)
            }
            if !first.handle.isAlive || !second.handle.isAlive { throw Self.workerEnded }
        }
    }

    private func reply(from control: borrowing PacketSocket) throws(IPCError) -> WorkerReply {
        let deadline = Deadline.after(.seconds(60))
        var bytes = [UInt8](repeating: 0, count: 4096)
        while try !Readiness.readable.wait(for: control.descriptor.rawValue, until: .after(.milliseconds(50))) {
            try interruption.check()
            guard !deadline.hasPassed else {
                throw IPCError(.timedOut, "bench", "worker", advice: "a worker did not finish within a minute")
            }
        }
        var elements = bytes.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let count = try control.receive(into: &buffer)
        guard let packet = WorkerPacket<WorkerReply>(bytes, count: count) else { throw Self.workerEnded }
        guard packet.record.outcome != .failed else {
            throw IPCError(
                packet.record.isTooLarge ? .messageTooLarge : .childFailed, "bench", "worker", advice: packet.text)
        }
        return packet.record
    }

    private static let workerEnded = IPCError(.childFailed, "bench", "worker", advice: "a worker ended unexpectedly")

    private func samples(_ count: Int) -> [UInt64] {
        results.withBytes { bytes in
            (0..<count).map { unsafe bytes.unsafeLoad(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
    }
}

/// How to start a worker: usually this same program with hidden arguments.
public struct WorkerExecutable: Sendable {
    let path: String
    let arguments: @Sendable (_ isFirst: Bool, _ placement: Placement) -> [String]

    public init(path: String, arguments: @escaping @Sendable (_ isFirst: Bool, _ placement: Placement) -> [String]) {
        self.path = path
        self.arguments = arguments
    }
}

/// Notices Ctrl-C, SIGTERM and SIGHUP between steps, so that a run ends in order.
public final class Interruption: Sendable {
    private let signals: SignalSource

    public init(_ signals: [Signal] = [.interrupt, .terminate, .hangUp]) throws(IPCError) {
        self.signals = try SignalSource(signals)
    }

    /// Throws ``Interruption/error`` once a signal has come.
    func check() throws(IPCError) {
        if let received = try signals.tryNext() {
            throw IPCError(.childFailed, Self.operation, received.signal.description, advice: "stopped by the user")
        }
    }

    /// What an error of ``check()`` has as its operation.
    public static let operation = "interrupted"
}
