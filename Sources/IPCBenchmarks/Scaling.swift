import CBaselines
import CIPCShims
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// How a topic's rate changes with the number of its writers and readers: each a process, wherever the scheduler puts it.
public struct ScalingBenchmark {
    /// Messages per second that every reader got, of all writers together.
    public struct Figure: Sendable {
        public let writers: Int
        public let readers: Int
        public let isShared: Bool
        public let messagesPerSecond: Double
    }

    /// What a participant is told by its command line; its descriptors are the channel's, where to report, and a gate that
    /// opens when its other end is closed.
    public struct Participant: Sendable {
        public var isWriter: Bool
        public var count: Int
        public init(isWriter: Bool, count: Int) {
            self.isWriter = isWriter
            self.count = count
        }

        static let size = 64
        static let (control, log, report, gate): (CInt, CInt, CInt, CInt) = (3, 4, 5, 6)

        /// Runs in the participant's process.
        public func run() throws(IPCError) {
            ipc_die_with_parent()
            let topic = try Topic<RawBytes>(bytesOn: ChannelDescriptors(control: Self.control, log: Self.log))
            if isWriter { try write(topic) } else { try read(topic) }
        }

        private func write(_ topic: Topic<RawBytes>) throws(IPCError) {
            var publisher = try topic.makePublisher()
            let gate = try PipeReader(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: Self.gate)))
            _ = try gate.readToEnd()
            for number in 0..<UInt64(count) {
                try publisher.publish(upTo: Self.size) { (frame) throws(IPCError) in
                    frame.fill(number, Self.size)
                }
            }
        }

        private func read(_ topic: Topic<RawBytes>) throws(IPCError) {
            var subscription = try topic.subscribe()
            let report = try PipeWriter(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: Self.report)))
            try report.write(unsafe [UInt64(0)].span.bytes)
            var first: UInt64 = 0
            for index in 0..<count {
                let number = try subscription.receive(until: .after(.seconds(60))) { (payload) throws(IPCError) in
                    payload.index
                }
                guard number != .max else { throw Loops.corrupted }
                if index == 0 { first = cb_now() }
            }
            try report.write(unsafe [cb_now() - first].span.bytes)
        }
    }

    private let executable: @Sendable (Participant) -> [String]
    private let interruption: Interruption

    /// - Parameter executable: The arguments with which this program runs ``Participant/run()``.
    public init(_ interruption: Interruption, executable: @escaping @Sendable (Participant) -> [String]) {
        self.interruption = interruption
        self.executable = executable
    }

    /// The combinations that are measured.
    public static let combinations: [(writers: Int, readers: Int, isShared: Bool)] =
        [1, 2, 4, 8, 16, 32].map { (1, $0, false) } + [1, 2, 3, 8, 32].map { ($0, 1, true) }

    public func measure(writers: Int, readers: Int, isShared: Bool) throws(IPCError) -> Figure {
        try interruption.check()
        let channel = try ChannelDescriptors.makeUnnamed(
            .topic, ChannelOptions(writers: isShared ? .shared : .exclusive, capacity: 1 << 20))
        defer { for raw in [channel.control, channel.log] { close(raw) } }
        let reports = try AnonymousPipe()
        let gate = try AnonymousPipe()
        let total = 4_000_000 / max(readers, isShared ? 4 : 1)
        var children: [Child] = []
        let (reportEnd, gateEnd) = (reports.writer.descriptor, gate.reader.descriptor)
        func start(_ participant: Participant) throws(IPCError) {
            children.append(
                Child(
                    try ChildProcess(
                        "/proc/self/exe", executable(participant),
                        descriptors: [
                            Participant.control: FileDescriptor(rawValue: channel.control),
                            Participant.log: FileDescriptor(rawValue: channel.log),
                            Participant.report: reportEnd, Participant.gate: gateEnd,
                        ])))
        }
        for _ in 0..<readers { try start(Participant(isWriter: false, count: total / writers * writers)) }
        for _ in 0..<readers { _ = try number(from: reports.reader) }
        for _ in 0..<writers { try start(Participant(isWriter: true, count: total / writers)) }
        _ = gate.closingWriter()
        var slowest: UInt64 = 1
        for _ in 0..<readers { slowest = max(slowest, try number(from: reports.reader)) }
        for child in children { _ = try child.process.wait(until: .after(.seconds(10))) }
        return Figure(
            writers: writers, readers: readers, isShared: isShared,
            messagesPerSecond: Double(total) * 1e9 / Double(slowest))
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

    /// The figures as a table, each beside that of one writer and one reader of its kind.
    public static func table(_ figures: [Figure]) -> String {
        var rows = [["writers", "readers", "mode", "messages", "of 1 and 1"]]
        for figure in figures {
            let single = figures.first { $0.writers == 1 && $0.readers == 1 && $0.isShared == figure.isShared }
            rows.append([
                "\(figure.writers)", "\(figure.readers)", figure.isShared ? "shared" : "exclusive",
                Quantity.rate(figure.messagesPerSecond),
                single.map { Quantity.ratio(figure.messagesPerSecond / $0.messagesPerSecond) } ?? "-",
            ])
        }
        return "Messages of 64 B that every reader of a topic got, from all its writers together\n"
            + TableFormat.aligned(rows, numeric: [0, 1, 3, 4])
    }
}
