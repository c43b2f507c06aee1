import ArgumentParser
import Glibc
import IPC

/// A command that ends in order when it is interrupted, told to end, or loses its terminal: its task is cancelled, so that what
/// it has open is left as it should be.
protocol Interruptible: AsyncParsableCommand, Sendable {
    /// The signals that it takes for itself.
    var takenSignals: [Signal] { get }
    /// How long it has to end after a signal, unless a second one comes.
    var patience: Duration { get }

    /// What has to be done while there is no other thread.
    func prepare()
    func perform() async throws
}

extension Interruptible {
    var takenSignals: [Signal] { [] }
    var patience: Duration { .seconds(1) }
    func prepare() {}

    func run() async throws {
        let signals = SharedReference(try SignalSource(EndingSignals.all.filter { !takenSignals.contains($0) }))
        let work = Task { try await perform() }
        let watch = Task {
            let received = try await signals.value.next()
            work.cancel()
            // A call that does not notice is not waited for.
            do throws(IPCError) {
                _ = try await signals.value.next(until: .after(patience))
            } catch  where error.code == .cancelled {
                return 128 + received.signal.rawValue
            } catch  where error.code == .timedOut {}
            if !Task.isCancelled { Glibc._exit(128 + received.signal.rawValue) }
            return 128 + received.signal.rawValue
        }
        let outcome = await work.result
        watch.cancel()
        if let code = try? await watch.value { throw ExitCode(code) }
        do { try outcome.get() } catch let error as IPCError where error.code == .cancelled { throw ExitCode(130) }
    }
}

/// The signals that ask the command to end.
enum EndingSignals {
    /// SIGHUP is left alone if it is ignored: `nohup` started the command.
    static let all: [Signal] =
        Signal.hangUp.isIgnored ? [.interrupt, .terminate] : [.interrupt, .terminate, .hangUp]
}

/// How long a command waits.
struct TimeoutOption: ParsableArguments {
    @Option(
        name: .long,
        help: "Fail after N seconds; with several messages, after N seconds at one of them.",
        transform: {
            try Numbers.duration(Numbers.decimal("a number of seconds from 0 to 1000000000, such as 1.5", 0...1e9)($0))
        })
    var timeout: Duration?

    /// From now.
    var deadline: Deadline { timeout.map { .after($0) } ?? .never }
}

/// The name of a POSIX object.
struct POSIXNameArgument: ParsableArguments {
    @Argument(help: "Name, with its leading slash: /jobs.") var name: String
}

/// How a command prints.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json
}

struct FormatOption: ParsableArguments {
    @Option(name: .long, help: "Output format.")
    var format = OutputFormat.text
}
