import ArgumentParser
import Glibc
import IPC
import IPCBenchmarks

extension Signal: ExpressibleByArgument {
    public init?(argument: String) { self.init(name: argument) }
}

/// `ipc signal`: signals, as values.
struct SignalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "signal", abstract: "List, send, wait for and trace signals.",
        discussion: """
            Examples:
              ipc signal list
              ipc signal send TERM 1234
              ipc signal send RTMIN+1 1234 --value 42
              ipc signal trace USR1 HUP
            """,
        subcommands: [List.self, Send.self, Wait.self, Trace.self])

    struct List: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "List all signals, and their default actions.")

        func perform() async throws {
            let defaults: [Signal: String] = [
                .child: "ignored", .windowChange: "ignored", .continue: "continues", .stop: "stops, always",
                .terminalStop: "stops", .kill: "ends, always", .quit: "ends with a core dump",
                .illegalInstruction: "ends with a core dump",
                .trap: "ends with a core dump", .abort: "ends with a core dump", .busError: "ends with a core dump",
                .floatingPointException: "ends with a core dump", .segmentationFault: "ends with a core dump",
            ]
            var rows = [["number", "name", "by default"]]
            let last = Signal.realTime(Signal.realTimeNumbers.upperBound).rawValue
            for number in 1...last {
                let signal = Signal(rawValue: number)
                guard !signal.description.hasPrefix("signal ") else { continue }
                rows.append(["\(number)", signal.description, defaults[signal] ?? "ends"])
            }
            try MessageOutput.put(line: TableFormat.aligned(rows, numeric: [0]))
        }
    }

    struct Send: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Send a signal to processes.",
            discussion: "Each process is opened as a pidfd, so that a reused number cannot reach another process.")
        @Argument(help: "Signal: TERM, SIGTERM, 15, RTMIN+1.") var signal: Signal
        @Argument(help: "Process identifiers.", transform: Numbers.whole(1...Int32.max)) var processes: [Int32]
        @Option(
            help: "Integer to send with it, by sigqueue; a negative one as --value=-5.", transform: Numbers.signed)
        var value: Int?

        func perform() async throws {
            for process in processes {
                let handle = try ProcessHandle(process)
                if let value { try handle.queue(signal, value: value) } else { try handle.send(signal) }
            }
        }
    }

    struct Wait: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Wait for one of these signals, and print it.")
        @Argument(help: "Signal: TERM, SIGTERM, 15, RTMIN+1.") var signals: [Signal]
        @OptionGroup var timeout: TimeoutOption

        var takenSignals: [Signal] { signals }

        func perform() async throws {
            let source = SharedReference(try SignalSource(signals))
            try SignalCommand.show(try await source.value.next(until: timeout.deadline))
        }
    }

    struct Trace: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print each of these signals that this process receives, and its sender.")
        @Argument(help: "Signal: TERM, SIGTERM, 15, RTMIN+1.") var signals: [Signal]

        var takenSignals: [Signal] { signals }

        func perform() async throws {
            let source = SharedReference(try SignalSource(signals))
            printError("ipc: send signals to process \(getpid())")
            while true { try SignalCommand.show(try await source.value.next()) }
        }
    }

    private static func show(_ received: SignalSource.Received) throws {
        try MessageOutput.put(
            line: "\(received.signal) from process \(received.sender) of user \(received.user), value \(received.value)"
        )
    }
}
