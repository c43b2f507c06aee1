import ArgumentParser
import Glibc
import IPC
import SystemPackage

/// `ipc pipe`: commands joined by pipes, as a shell joins them.
struct PipeCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "pipe", abstract: "Run a pipeline of commands, and report how it ended.",
        discussion: """
            The exit code is that of the first command that failed, or 0. With --status, the exit status of each command is \
            printed on standard error. When this program ends, for whatever reason, the commands and the processes that they \
            started end too.

            Example:
              ipc pipe -- 'ls -l' '|' 'grep .txt' '|' 'wc -l'
            """)

    @Flag(name: .long, help: "Print each command's exit status on standard error.") var status = false
    @Flag(name: .long, help: "Pass standard input to the first command.") var input = false
    @OptionGroup var timeout: TimeoutOption
    @Argument(parsing: .postTerminator, help: "Commands after --, with '|' between them.") var words: [String] = []

    /// More than commands have between SIGTERM and SIGKILL.
    var patience: Duration { .seconds(10) }

    func perform() async throws {
        let stages = words.split(separator: "|", omittingEmptySubsequences: false).map { stage in
            // A stage is one word, as the shell would split it, or words.
            stage.count == 1 ? stage.first!.split(separator: " ").map(String.init) : Array(stage)
        }
        guard !stages.isEmpty, !stages.contains(where: \.isEmpty) else {
            throw ValidationError("a command is missing: ipc pipe -- 'ls -l' '|' 'wc -l'")
        }
        let pipeline = Pipeline(stages.map { Pipeline.Command($0[0], Array($0.dropFirst())) })
        let guardian = try ProcessGuardian()
        let deadline = timeout.deadline
        let result = try await pipeline.run(
            input: input ? StandardInput.readToEnd() : [], output: .collected(limit: 1 << 30), until: deadline,
            guardian: guardian)
        try MessageOutput.put(result.output)
        if status {
            for stage in result.stages { printError("\(stage.command): \(stage.outcome)") }
        }
        guard let failure = result.failure else { return }
        switch failure.outcome {
        case .ended(.exited(let code)): throw ExitCode(code)
        case .ended(.signaled(let signal)):
            printError("ipc: \(failure.command): ended by \(signal)")
            throw ExitCode(128 + signal.rawValue)
        case .notStarted(let reason):
            printError("ipc: \(failure.command): \(reason)")
            throw ExitCode(127)
        case .statusLost(let reason):
            printError("ipc: \(failure.command): \(reason)")
            throw ExitCode(1)
        }
    }
}

/// `ipc fifo`: named pipes.
struct FIFOCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fifo", abstract: "Create, read and write named pipes, with a time-out.",
        discussion: """
            Examples:
              ipc fifo create /tmp/requests
              ipc fifo read /tmp/requests --timeout 5
              echo hello | ipc fifo write /tmp/requests --timeout 5
            """,
        subcommands: [Create.self, Read.self, Write.self])

    struct PathArgument: ParsableArguments {
        @Argument(help: "Path of the named pipe.") var path: String
    }

    struct Create: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Create a named pipe.")
        @OptionGroup var fifo: PathArgument
        @Option(help: "Permissions, in octal.") var mode = "600"

        func perform() async throws {
            guard let bits = Numbers.permissions(mode) else {
                throw ValidationError("--mode \(mode): expected three octal digits, such as 600.")
            }
            _ = try NamedPipe.create(FilePath(fifo.path), permissions: FilePermissions(rawValue: bits))
        }
    }

    struct Read: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print what is written to a named pipe, until the last writer closes it.")
        @OptionGroup var fifo: PathArgument
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let reader = SharedReference(
                try await NamedPipe.open(FilePath(fifo.path)).openForReading(until: timeout.deadline))
            while true {
                let bytes = try await Self.read(reader.value, until: timeout.deadline)
                if bytes.isEmpty { return }
                try MessageOutput.put(bytes)
            }
        }

        private static nonisolated(nonsending) func read(
            _ reader: borrowing PipeReader, until deadline: Deadline
        ) async throws(IPCError) -> [UInt8] {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            var elements = chunk.mutableSpan
            var buffer = unsafe elements.mutableBytes
            let count = try await reader.read(into: &buffer, until: deadline)
            return Array(chunk[..<count])
        }
    }

    struct Write: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Write a text, or standard input.")
        @OptionGroup var fifo: PathArgument
        @Argument(help: "Text to write; by default, standard input.") var text: String?
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let writer = SharedReference(
                try await NamedPipe.open(FilePath(fifo.path)).openForWriting(until: timeout.deadline))
            if let text {
                return try await unsafe writer.value.write(
                    Array((text + "\n").utf8).span.bytes, until: timeout.deadline)
            }
            while true {
                let bytes = try await StandardInput.read()
                if bytes.isEmpty { return }
                try await unsafe writer.value.write(bytes.span.bytes, until: timeout.deadline)
            }
        }
    }
}
