public import SystemPackage

/// Child processes joined by pipes, as a shell joins them: `ls -l | grep .txt | wc -l`.
///
/// ```swift
/// let pipeline = Pipeline([["ls", "-l"], ["grep", ".txt"], ["wc", "-l"]])
/// let result = try await pipeline.run()
/// print(result.text, result.stages.map(\.outcome))
/// ```
///
/// Input and output flow at the same time, so neither can be too large for the other. Children are waited for one by
/// one: no other child of the program is ever reaped. Each stage leads a process group of its own, so that it can be ended
/// together with the processes that it starts; a Ctrl-C at the terminal reaches this process, and not the stages.
public struct Pipeline: Sendable {
    /// A program and its arguments; a name without a slash is looked up in `PATH`.
    public struct Command: Hashable, Sendable, ExpressibleByArrayLiteral {
        public let program: String
        public let arguments: [String]

        public init(_ program: String, _ arguments: [String] = []) {
            self.program = program
            self.arguments = arguments
        }

        public init(arrayLiteral words: String...) { self.init(words.first ?? "", Array(words.dropFirst())) }
    }

    /// What became of a stage.
    public enum Outcome: Hashable, Sendable {
        /// It ran and ended.
        case ended(ExitStatus)
        /// It could not be started: there is no such program, or it cannot be run.
        case notStarted(reason: String)
        /// It ran and ended, but nobody can tell how: this process ignores SIGCHLD, or something in it waits for any child.
        case statusLost(reason: String)
    }

    /// A stage after the run.
    public struct Stage: Hashable, Sendable {
        public let command: Command
        public let outcome: Outcome
    }

    /// What a run brought.
    public struct Result: Hashable, Sendable {
        /// Every stage, in order.
        public let stages: [Stage]
        /// The last stage's standard output.
        public let output: [UInt8]
        /// The output as text.
        public var text: String { String(decoding: output, as: UTF8.self) }

        /// The first stage that failed, if any did. A stage that SIGPIPE ended because the next one wanted no more, as in
        /// `yes | head -1`, did not fail.
        public var failure: Stage? {
            stages.enumerated().first { index, stage in
                switch stage.outcome {
                case .ended(.exited(0)): false
                case .ended(.signaled(.brokenPipe)): index == stages.count - 1
                default: true
                }
            }?.element
        }

        /// Throws ``IPCError/Code/childFailed`` with the name of the first stage that failed.
        public func check() throws(IPCError) {
            guard let failure else { return }
            let what =
                switch failure.outcome {
                case .ended(let status): "it ended with \(status)"
                case .notStarted(let reason), .statusLost(let reason): reason
                }
            throw IPCError(.childFailed, "pipeline stage", failure.command.program, advice: what)
        }
    }

    public let commands: [Command]
    /// `NAME=value` strings, or nil for this process's environment.
    public var environment: [String]?
    /// `NAME=value` strings instead of this process's of these names, if `environment` is nil.
    package var environmentChanges: [String] = []
    /// Where the stages start; nil for this process's working directory.
    public var workingDirectory: FilePath?
    /// How long after SIGTERM stages that are ended get SIGKILL.
    public var gracePeriod = Duration.seconds(2)

    /// A pipeline of these commands, of which there is at least one.
    public init(_ commands: [Command], environment: [String]? = nil, workingDirectory: FilePath? = nil) {
        self.commands = commands
        self.environment = environment
        self.workingDirectory = workingDirectory
    }

    /// Runs all stages at once until each has ended, and the output has. Their standard error is this process's.
    ///
    /// Suspends; blocks no thread, and starts none but the library's own, which blocks all signals. A stage that reads no
    /// more ends the feeding of the input: it raises no SIGPIPE here, and is no error. Processes that a stage leaves in the
    /// background live on after a run that is not cut short.
    /// - Parameters:
    ///   - input: What the first stage reads.
    ///   - outputLimit: Give up if the last stage writes more bytes.
    ///   - deadline: When to give up.
    /// - Returns: Every stage's outcome, also of those that failed or could not be started: see ``Result/check()``.
    /// - Throws: ``IPCError/Code/messageTooLarge`` beyond the limit, ``IPCError/Code/timedOut``, and
    ///   ``IPCError/Code/cancelled`` if the task was. In each case all stages, and the processes that they have started in
    ///   their groups, get SIGTERM, after ``gracePeriod`` SIGKILL, and have ended before it throws.
    ///   ``IPCError/Code/invalidArgument`` without commands.
    public func run(
        input: [UInt8] = [], outputLimit: Int = 1 << 30, until deadline: Deadline = .never
    ) async throws(IPCError) -> Result {
        try await run(input: input, output: .collected(limit: outputLimit), until: deadline, guardian: nil)
    }
}
