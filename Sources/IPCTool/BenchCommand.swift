import ArgumentParser
import Glibc
import IPC
import IPCBenchmarks
import IPCChannels
import SystemPackage

extension Placement: ExpressibleByArgument {}
extension Mechanism: ExpressibleByArgument {}

/// `ipc bench`: the guide's comparison, measured on this machine.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure every mechanism between two processes on this machine.",
        discussion: """
            Examples:
              ipc bench                       all mechanisms, in about a minute
              ipc bench --mechanism pipe --mechanism unix-stream --size 64 --size 1048576
              ipc bench --baseline            compare with the same loops in C
              ipc bench --api async           compare asynchronous and blocking calls
              ipc bench --rate 10000 --mechanism shm-futex --duration 2
              ipc bench --scaling             a topic with 1 to 32 writers and readers
              ipc bench --report report.html  also write a page with charts
              ipc bench --format json > figures.json

            Exit codes: 0 done (mechanisms that this machine does not support are listed as not measured); \
            1 nothing was measured; 64 invalid arguments; 130 stopped by Ctrl-C (the figures so far are printed).
            """
    )

    enum API: String, CaseIterable, ExpressibleByArgument {
        case blocking, async
    }

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case table, json, csv
    }

    @Option(name: .long, help: "Measure only this mechanism; may be repeated.")
    var mechanism: [Mechanism] = []

    @Option(
        name: .long, help: "Message size in bytes, a multiple of 8; may be repeated. (default: 64 4096 65536 1048576)",
        transform: Numbers.count)
    var size: [Int] = []

    @Option(name: .long, help: "Where the two processes run. (default: cross-core, or same-core on one processor)")
    var placement: Placement?

    @Option(
        name: .long, help: "Messages per figure, instead of a duration.", transform: Numbers.whole(1...1 << 24))
    var count: Int?

    @Option(
        name: .long, help: "Seconds per figure and implementation. (default: 0.25)",
        transform: Numbers.decimal("a number of seconds, more than 0 and at most 60", 0...60))
    var duration: Double?

    @Option(
        name: .long, help: "Measure one-way latency at this many messages per second, instead of round trips.",
        transform: Numbers.whole(1...10_000_000))
    var rate: Int?

    @Option(
        name: .long, help: "Minimum log size of each channel, in bytes. (default: see Documentation/benchmark.md)",
        transform: Numbers.whole(1...1 << 34))
    var log: Int?

    @Flag(name: .long, help: "Alternate each loop with the same loop in C, and print the ratio.")
    var baseline = false

    @Option(
        name: .long,
        help: "Which calls to measure; async alternates with the blocking calls. (default: blocking)")
    var api: API?

    @Flag(
        name: .long,
        help: """
            Measure how topics scale with the number of readers, writers, log bytes and channels instead. \
            Of the other options, only --count and --report apply.
            """
    )
    var scaling = false

    @Option(
        name: .long, help: "Seed for the shuffled order of mechanisms and implementations.",
        transform: Numbers.whole(0...UInt64.max))
    var seed: UInt64?

    @Option(name: .long, help: "Output format.")
    var format: Format = .table

    @Option(name: .long, help: "Also write the figures to this file, as a self-contained HTML page.")
    var report: String?

    func validate() throws {
        if scaling, let option = optionWithoutScaling {
            throw ValidationError(
                "\(option) has no effect with --scaling, which takes only --count and --report; leave one of them out.")
        }
        if count != nil, duration != nil {
            throw ValidationError("--count replaces --duration; leave one of them out.")
        }
        for size in size where size < 8 || size % 8 != 0 || size > 1 << 24 {
            throw ValidationError("--size \(size): expected a multiple of 8, from 8 to 16777216 bytes.")
        }
        if let duration, duration <= 0 {
            throw ValidationError("--duration \(duration): expected more than 0 and at most 60 seconds.")
        }
        if placement == .crossCore, Placement.processors.count < 2 {
            throw ValidationError(
                "--placement cross-core: this process may use only one processor; choose same-core or free.")
        }
        if api == .async, baseline {
            throw ValidationError("--baseline measures blocking calls; leave out --api async.")
        }
        if let report, report.isEmpty { throw ValidationError("--report: the file name is empty; give one.") }
    }

    /// What was given and --scaling does not look at.
    private var optionWithoutScaling: String? {
        let given = [
            ("--mechanism", !mechanism.isEmpty), ("--size", !size.isEmpty), ("--placement", placement != nil),
            ("--duration", duration != nil), ("--rate", rate != nil), ("--log", log != nil), ("--baseline", baseline),
            ("--api", api != nil), ("--seed", seed != nil), ("--format", format != .table),
        ]
        return given.first(where: \.1)?.0
    }

    func run() throws {
        let interruption = try Interruption(EndingSignals.all)
        let page = try report.map { try ReportFile(path: $0) }
        if scaling { return try runScaling(interruption, page) }

        var options = BenchmarkOptions()
        if !mechanism.isEmpty { options.mechanisms = Mechanism.allCases.filter(mechanism.contains) }
        if !size.isEmpty { options.sizes = Set(size).sorted() }
        options.placement = placement ?? (Placement.processors.count < 2 ? .sameCore : .crossCore)
        options.count = count
        if let duration { options.duration = duration }
        options.rate = rate
        options.log = log ?? 0
        options.comparison = api == .async ? .async : baseline ? .c : nil
        options.seed = seed

        let progress = ProgressLine()
        var benchmark = Benchmark(
            options,
            executable: WorkerExecutable(path: "/proc/self/exe") { isFirst, placement in
                ["bench-worker", isFirst ? "first" : "second", placement.rawValue]
            },
            interruption: interruption, progress: progress.show)
        let folder = api == .async ? WorkersFolder() : nil
        let result = benchmark.run()
        folder?.remove()
        BenchCache.keep(result)
        progress.clear()

        switch format {
        case .table: print(TableFormat.text(result), terminator: "")
        case .json: print(JSONFormat.text(result), terminator: "")
        case .csv: print(CSVFormat.text(result), terminator: "")
        }
        if format != .table {
            for omission in result.omissions {
                printError(
                    "\(omission.mechanism.rawValue) at \(omission.payloadBytes) B: not measured: \(omission.reason)")
            }
        }
        try page?.write(HTMLReport.text(result))
        if result.isInterrupted { throw ExitCode(130) }
        if result.measurements.isEmpty { throw ExitCode(1) }
    }
}

extension BenchCommand {
    private func runScaling(_ interruption: Interruption, _ page: ReportFile?) throws {
        let progress = ProgressLine()
        let benchmark = ScalingBenchmark(interruption, count: count) { participant in
            ["bench-participant", participant.role.rawValue, "\(participant.count)"]
        }
        var figures: [ScalingBenchmark.Figure] = []
        var failure: IPCError?
        do throws(IPCError) {
            for setup in ScalingBenchmark.setups {
                progress.show("\(setup.series.rawValue): \(setup.variable)")
                figures.append(try benchmark.measure(setup))
            }
        } catch {
            failure = error
        }
        progress.clear()
        print(ScalingOutput.table(figures), terminator: "")
        try page?.write(ScalingOutput.html(figures))
        if let failure {
            printError("Stopped: \(failure)")
            throw ExitCode(failure.operation == Interruption.operation ? 130 : 1)
        }
    }
}

/// A participant of `ipc bench --scaling`. Started by that only.
struct BenchParticipantCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-participant", shouldDisplay: false)

    @Argument var role: String
    @Argument(transform: Numbers.count) var count: Int

    func run() throws {
        guard let role = ScalingParticipant.Role(rawValue: role) else {
            throw ValidationError("role \(role), count \(count): this subcommand is internal; run ipc bench --scaling")
        }
        try ScalingParticipant(role: role, count: count).run()
    }
}

/// One of the two processes of a measurement. Started by `ipc bench` only.
struct BenchWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

    @Argument var role: String
    @Argument var placement: Placement

    func run() throws { try Worker.run(isFirst: role == "first", placement: placement) }
}

/// Where workers that wait without a thread have their bells: they are ended, and take nothing away.
private struct WorkersFolder {
    private let path = "/dev/shm/ipc-bench-\(getpid())"

    init() { unsafe setenv("IPC_ROOT", path, 1) }

    func remove() {
        unsafe unsetenv("IPC_ROOT")
        let root = ChannelRoot(FilePath(path))
        for _ in 0..<100 {
            if (try? root.removeIfUnused()) != nil { return }
            usleep(10_000)  // a worker has not quite ended
        }
    }
}

/// The file of the report, opened before the measurements, so that a bad path is told at once.
private struct ReportFile {
    private let descriptor: FileDescriptor
    private let path: String

    init(path: String) throws {
        self.path = path
        do {
            descriptor = try FileDescriptor.open(
                FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
        } catch let error as Errno {
            throw ValidationError("--report \(path): \(error).")
        }
    }

    func write(_ text: String) throws {
        try descriptor.closeAfter { _ = try descriptor.writeAll(text.utf8) }
    }
}

/// What is being measured, on one line of standard error that is overwritten. On a terminal only.
private final class ProgressLine {
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let started = MonotonicClock.now

    func show(_ text: String) {
        let seconds = (MonotonicClock.now - started) / 1_000_000_000
        if isTerminal {
            drawOnError("\r\u{1B}[K\(seconds) s  \(text.escapingControls)")
        } else {
            printError("measuring \(text)")
        }
    }

    func clear() {
        if isTerminal { drawOnError("\r\u{1B}[K") }
    }
}

/// A line on standard error. Control characters in it are escaped: names and messages of others may be in it.
func printError(_ text: String, terminator: String = "\n") {
    drawOnError(text.escapingControls + terminator)
}

/// As it is.
private func drawOnError(_ text: String) { _ = try? FileDescriptor.standardError.writeAll(text.utf8) }
