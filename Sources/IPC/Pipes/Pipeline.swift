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
/// one: no other child of the program is ever reaped. Unless ``processGroup`` says otherwise, each stage leads a process group
/// of its own, so that it can be ended together with the processes that it starts; a Ctrl-C at the terminal reaches this
/// process, and not the stages.
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
        /// The standard error of all stages, as it came, if it was ``ChildProcess/StandardError/captured``; else empty.
        public let errors: [UInt8]
        /// Whether a stage before the last can fail the pipeline.
        let pipefail: Bool

        /// The output as text.
        public var text: String { String(decoding: output, as: UTF8.self) }
        /// The captured standard error as text.
        public var errorText: String { String(decoding: errors, as: UTF8.self) }

        /// The first stage that failed, if any did; without ``Pipeline/pipefail``, the last stage if that failed. A stage that
        /// SIGPIPE ended because the next one wanted no more, as in `yes | head -1`, did not fail.
        public var failure: Stage? {
            stages.enumerated().first { index, stage in
                if !pipefail, index < stages.count - 1 { return false }
                return switch stage.outcome {
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
                case .ended(let status): "it failed: \(status)"
                case .notStarted(let reason), .statusLost(let reason): reason
                }
            throw IPCError(.childFailed, "pipeline stage", failure.command.program, advice: what)
        }
    }

    public let commands: [Command]
    /// The variables that the stages have.
    public var environment: ChildProcess.Environment
    /// Where the stages start; nil for this process's working directory.
    public var workingDirectory: FilePath?
    /// Where the stages write their errors.
    public var standardError: ChildProcess.StandardError
    /// The process group of each stage. In a new one, it is ended with all processes that it has started; in another, only the
    /// stages themselves are ended, and Ctrl-C at the terminal reaches those that are in this process's.
    public var processGroup: ChildProcess.ProcessGroup
    /// Whether the pipeline has failed if any stage has, as with `set -o pipefail`; else only the last stage counts.
    public var pipefail: Bool
    /// How long after SIGTERM stages that are ended get SIGKILL.
    public var gracePeriod = Duration.seconds(2)

    /// A pipeline of these commands, of which there is at least one.
    public init(
        _ commands: [Command], environment: ChildProcess.Environment = .inherited, workingDirectory: FilePath? = nil,
        standardError: ChildProcess.StandardError = .inherited, processGroup: ChildProcess.ProcessGroup = .new,
        pipefail: Bool = true
    ) {
        self.commands = commands
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.standardError = standardError
        self.processGroup = processGroup
        self.pipefail = pipefail
    }

    /// Runs all stages at once until each has ended, and the output has.
    ///
    /// Suspends; blocks no thread, and starts none but the library's own, which blocks all signals. A stage that reads no
    /// more ends the feeding of the input: it raises no SIGPIPE here, and is no error. Processes that a stage leaves in the
    /// background live on after a run that is not cut short; while one of them has the output open, the run goes on.
    /// - Parameters:
    ///   - input: What the first stage reads.
    ///   - outputLimit: Give up if the last stage writes more bytes, or all together write more to a captured standard error.
    ///   - deadline: When to give up.
    /// - Returns: Every stage's outcome, also of those that failed or could not be started: see ``Result/check()``.
    /// - Throws: ``IPCError/Code/messageTooLarge`` beyond the limit, ``IPCError/Code/timedOut``, and
    ///   ``IPCError/Code/cancelled`` if the task was. In each case all stages, and the processes that they have started in
    ///   their groups, get SIGTERM, after ``gracePeriod`` SIGKILL, and have ended before it throws.
    ///   ``IPCError/Code/invalidArgument`` without commands.
    public func run(
        input: [UInt8] = [], outputLimit: Int = 1 << 30, until deadline: Deadline = .never
    ) async throws(IPCError) -> Result {
        try await run(
            input: input, output: .collected(limit: outputLimit), until: deadline, guardian: nil,
            errorLimit: outputLimit)
    }

    /// Runs all stages at once, while `input` writes what the first one reads, and `output` reads what the last one writes.
    ///
    /// ```swift
    /// let (count, result) = try await Pipeline([["sort", "-n"], ["uniq"]]).run(until: .after(.seconds(60))) { input in
    ///     for number in 0..<1_000_000 { try await input.write("\(number % 1000)\n".utf8.span.bytes) }
    /// } output: { output in
    ///     var count = 0
    ///     for try await _ in try output.lines() { count += 1 }
    ///     return count
    /// }
    /// try result.check()
    /// ```
    ///
    /// Both run in child tasks at the same time. They take no more memory than they ask for: who is faster waits, as a pipe
    /// has 64 KiB. The first stage sees the end of its input when `input` returns; when `output` returns, the last stage has
    /// nobody to write to any more. That the first stage reads no more is no error, if `input` passes it on
    /// (``IPCError/Code/brokenPipe``).
    /// - Parameters:
    ///   - deadline: When to give up. `input` and `output` are cancelled then.
    ///   - errorLimit: Give up if the stages write more bytes to a captured standard error.
    ///   - input: Borrows the pipe to the first stage; nil for an empty input.
    ///   - output: Borrows the pipe from the last stage.
    /// - Returns: What `output` returned, and every stage's outcome.
    /// - Throws: What `input` or `output` throws, unchanged; else as ``run(input:outputLimit:until:)``. In each case all stages
    ///   have been ended before.
    public func run<Value: Sendable>(
        until deadline: Deadline = .never, errorLimit: Int = 1 << 20,
        input: (@Sendable (borrowing PipeWriter) async throws -> Void)? = nil,
        output: @escaping @Sendable (borrowing PipeReader) async throws -> Value
    ) async throws -> (value: Value, result: Result) {
        let value = Locked<Value?>(nil)
        let result = try await stream(
            input.map { .streamed($0) } ?? .bytes([]),
            .streamed { reader in
                let read = try await output(reader)
                value.withLock { $0 = read }
            }, until: deadline, guardian: nil, errorLimit: errorLimit, endsGroupsOnFailure: false)
        return (value.withLock { $0 }!, result)
    }
}
