import ArgumentParser
import Glibc
import IPC

struct IPCCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ipc",
        abstract: "Inspect, try, measure and debug inter-process communication.",
        discussion: """
            Examples:
              ipc ls                                 list objects and their users
              ipc topic subscribe market/quotes      print new messages
              seq 3 | ipc queue push orders          send three jobs
              ipc queue work orders -- ./ship        run a command for each job
              ipc mq send /jobs hello --priority 3   send to a POSIX message queue
              ipc bench                              measure every mechanism here

            Exit codes: 0 done; 1 failed; 3 timed out; 4 not found; 5 permission denied; 6 already exists; 64 invalid \
            arguments, or options that differ from those of an existing channel; 75 not now, try again later: a service has no \
            room for another waiting call, or a server or worker is required and none has joined; 130, 143 and 129 ended by \
            Ctrl-C, SIGTERM and SIGHUP. An error is one line on standard error, which also says what to do.
            """,
        version: "0.2.0",
        subcommands: [
            ListCommand.self, InfoCommand.self, RemoveCommand.self, CleanCommand.self,
            TopicCommand.self, QueueCommand.self, ServiceCommand.self, LatestCommand.self, EventCommand.self,
            SchemaCommand.self, TapCommand.self, TopCommand.self, ServeUICommand.self, RecordCommand.self,
            ReplayCommand.self, BridgeCommand.self,
            PipeCommand.self, FIFOCommand.self, SharedMemoryCommand.self, MappedFileCommand.self,
            MessageQueueCommand.self, SemaphoreCommand.self, SocketCommand.self, SignalCommand.self,
            BenchCommand.self, ChooseCommand.self, DoctorCommand.self, BenchWorkerCommand.self,
            BenchParticipantCommand.self,
        ]
    )
}

@main
enum Entry {
    static func main() {
        // A launcher may have closed them, and ignored what tells of children: neither is wanted here.
        StandardDescriptors.openClosedOnes()
        GivenBytes.check()
        signal(SIGCHLD, SIG_DFL)
        // While this thread is the only one: signals are taken as values, by `Interruptible`, and interrupt nobody.
        SignalSet(EndingSignals.all).blockInCallingThread()
        if CommandLine.arguments.dropFirst().first == "signal" { SignalSet.all.blockInCallingThread() }
        if let suggestion = Suggestion.message(Array(CommandLine.arguments.dropFirst())) {
            printError("ipc: \(suggestion)")
            exit(64)
        }
        do {
            var command = try IPCCommand.parseAsRoot()
            guard let asynchronous = command as? any Interruptible else {
                try command.run()
                exit(0)
            }
            asynchronous.prepare()
            Task.detached { await run(asynchronous) }
        } catch {
            end(with: error)
        }
        while true { pause() }
    }

    private static func run(_ command: any Interruptible) async {
        var command = command
        do { try await command.run() } catch { end(with: error) }
        exit(0)
    }

    private static func end(with error: any Error) -> Never {
        // One line, and not the usage as well: the arguments were understood.
        if let error = error as? ValidationError {
            printError("ipc: \(error.message)")
            exit(64)
        }
        guard let error = error as? IPCError else {
            let code = IPCCommand.exitCode(for: error)
            guard !code.isSuccess, !(error is ExitCode) else { IPCCommand.exit(withError: error) }
            // The arguments are told, and may be names that others chose.
            for line in IPCCommand.fullMessage(for: error).split(separator: "\n", omittingEmptySubsequences: false) {
                printError(String(line))
            }
            exit(code.rawValue)
        }
        printError("ipc: \(error)")
        exit(error.exitCode)
    }
}

extension IPCError {
    /// As `ipc --help` says.
    var exitCode: Int32 {
        switch code {
        case .timedOut: 3
        case .notFound: 4
        case .permissionDenied: 5
        case .alreadyExists, .addressInUse: 6
        case .invalidArgument, .invalidName, .incompatibleOptions: 64
        // EX_TEMPFAIL of sysexits.h: nothing was done, and the same is worth another try.
        case .overloaded, .notReady: 75
        default: 1
        }
    }
}
