import Glibc
import IPC
import IPCChannels
import SystemPackage

/// How a topic's rate changes with the number of its writers and readers, with the size of its log, and with the number of
/// channels that are open: each participant a process, wherever the scheduler puts it.
public struct ScalingBenchmark {
    /// What is changed.
    public enum Series: String, CaseIterable, Sendable {
        case readers, writers, log, channels
    }

    public struct Setup: Sendable {
        public var series: Series
        public var writers = 1
        public var readers = 1
        public var capacity = 1 << 20
        public var channels = 1
        public var isShared: Bool { series == .writers }

        /// What is changed, as a number.
        public var variable: Int {
            switch series {
            case .readers: readers
            case .writers: writers
            case .log: capacity
            case .channels: channels
            }
        }
    }

    public struct Figure: Sendable {
        public let setup: Setup
        /// That every reader got, of all writers together.
        public let messagesPerSecond: Double
    }

    /// All that is measured.
    public static let setups =
        [1, 2, 4, 8, 16, 32].map { Setup(series: .readers, readers: $0) }
        + [1, 2, 3, 8, 32].map { Setup(series: .writers, writers: $0) }
        + [1 << 16, 1 << 20, 1 << 24, 1 << 28, 1 << 30].map { Setup(series: .log, capacity: $0) }
        + [1, 10, 100, 1000, 10_000].map { Setup(series: .channels, channels: $0) }

    private let executable: @Sendable (ScalingParticipant) -> [String]
    private let interruption: Interruption
    private let count: Int?

    /// - Parameters:
    ///   - executable: The arguments with which this program runs ``ScalingParticipant/run()``.
    ///   - count: How many messages, where there is one channel; nil for as many as take about a second.
    public init(
        _ interruption: Interruption, count: Int?, executable: @escaping @Sendable (ScalingParticipant) -> [String]
    ) {
        self.interruption = interruption
        self.count = count
        self.executable = executable
    }

    public func measure(_ setup: Setup) throws(IPCError) -> Figure {
        try interruption.check()
        if setup.series == .channels { return try measureChannels(setup) }
        let channel = try ChannelDescriptors.makeUnnamed(
            .topic, ChannelOptions(writers: setup.isShared ? .shared : .exclusive, capacity: setup.capacity))
        defer { for raw in [channel.control, channel.log] { close(raw) } }
        let reports = try AnonymousPipe()
        let gate = try AnonymousPipe()
        // A large log is gone through more than once.
        let total = count ?? max(4_000_000 / max(setup.readers, setup.isShared ? 4 : 1), 2 * setup.capacity / 96)
        var children: [Child] = []
        let (reportEnd, gateEnd) = (reports.writer.descriptor, gate.reader.descriptor)
        func start(_ role: ScalingParticipant.Role, _ count: Int) throws(IPCError) {
            children.append(
                Child(
                    try ChildProcess(
                        "/proc/self/exe", executable(ScalingParticipant(role: role, count: count)),
                        descriptors: [
                            ScalingParticipant.control: FileDescriptor(rawValue: channel.control),
                            ScalingParticipant.log: FileDescriptor(rawValue: channel.log),
                            ScalingParticipant.report: reportEnd, ScalingParticipant.gate: gateEnd,
                        ])))
        }
        for _ in 0..<setup.readers { try start(.reader, total / setup.writers * setup.writers) }
        for _ in 0..<setup.readers { _ = try number(from: reports.reader) }
        for _ in 0..<setup.writers { try start(.writer, total / setup.writers) }
        _ = gate.closingWriter()
        var slowest: UInt64 = 1
        for _ in 0..<setup.readers { slowest = max(slowest, try number(from: reports.reader)) }
        for child in children { _ = try child.process.wait(until: .after(.seconds(10))) }
        return Figure(setup: setup, messagesPerSecond: Double(total) * 1e9 / Double(slowest))
    }

    /// One process with a publisher of each channel, which it uses in turn.
    private func measureChannels(_ setup: Setup) throws(IPCError) -> Figure {
        let reports = try AnonymousPipe()
        let participant = ScalingParticipant(role: .channels, count: setup.channels)
        let child = try ChildProcess(
            "/proc/self/exe", executable(participant),
            descriptors: [ScalingParticipant.report: reports.writer.descriptor])
        let elapsed = try number(from: reports.reader)
        _ = try child.wait(until: .after(.seconds(60)))
        return Figure(
            setup: setup, messagesPerSecond: Double(ScalingParticipant.channelMessages) * 1e9 / Double(max(elapsed, 1)))
    }

    private func number(from reader: borrowing PipeReader) throws(IPCError) -> UInt64 {
        let deadline = Deadline.after(.seconds(60))
        while try !Readiness.readable.wait(for: reader.descriptor.rawValue, until: .after(.milliseconds(50))) {
            try interruption.check()
            if deadline.hasPassed { throw .timedOut("bench", "participant") }
        }
        var numbers: [UInt64] = [0]
        var elements = numbers.mutableSpan
        var buffer = unsafe elements.mutableBytes
        try reader.readExactly(into: &buffer)
        return numbers[0]
    }

    /// Arrays hold no values that cannot be copied.
    private final class Child {
        let process: ChildProcess
        init(_ process: consuming ChildProcess) { self.process = process }
    }
}
