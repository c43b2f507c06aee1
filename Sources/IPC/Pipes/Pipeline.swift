import Subprocess
import SystemPackage

/// Child processes joined by pipes, as a shell joins them: `ls -l | grep .txt | wc -l`.
///
/// ```swift
/// let pipeline = Pipeline([["ls", "-l"], ["grep", ".txt"], ["wc", "-l"]])
/// let result = try await pipeline.run()
/// print(result.text, result.stages.map(\.outcome))
/// ```
///
/// Input and output flow at the same time, so neither can be too large for the other. Children are waited for one by
/// one: no other child of the program is ever reaped. Built on swift-subprocess.
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
                case .notStarted(let reason): reason
                }
            throw IPCError(.childFailed, "pipeline stage", failure.command.program, advice: what)
        }
    }

    public let commands: [Command]

    /// A pipeline of these commands, of which there is at least one.
    public init(_ commands: [Command]) { self.commands = commands }

    /// Runs all stages at once until each has ended. Their standard error is this process's.
    ///
    /// - Parameters:
    ///   - input: What the first stage reads.
    ///   - outputLimit: Give up if the last stage writes more bytes.
    /// - Returns: Every stage's outcome, also of those that failed or could not be started: see ``Result/check()``.
    /// - Throws: ``IPCError/Code/messageTooLarge`` beyond the limit; ``IPCError/Code/invalidArgument`` without commands.
    ///   Cancelling the task ends the stages.
    public func run(input: [UInt8] = [], outputLimit: Int = 1 << 30) async throws(IPCError) -> Result {
        guard !commands.isEmpty else {
            throw IPCError(.invalidArgument, "pipeline", "", advice: "a pipeline needs at least one command")
        }
        let joints = try Self.makeJoints(commands.count - 1)
        do {
            return try await withThrowingTaskGroup(of: (Int, Stage, [UInt8]).self) { group in
                for (index, command) in commands.enumerated() {
                    let source = index == 0 ? nil : joints[index - 1].reader
                    let target = index == commands.count - 1 ? nil : joints[index].writer
                    group.addTask {
                        let (outcome, output) = try await Self.runStage(
                            command, from: source, input: input, to: target, outputLimit: outputLimit)
                        return (index, Stage(command: command, outcome: outcome), output)
                    }
                }
                var stages: [Int: Stage] = [:]
                var output: [UInt8] = []
                for try await (index, stage, bytes) in group {
                    stages[index] = stage
                    if index == commands.count - 1 { output = bytes }
                }
                return Result(stages: commands.indices.map { stages[$0]! }, output: output)
            }
        } catch let error as IPCError {
            throw error
        } catch {
            throw IPCError(
                .childFailed, "pipeline", commands.map(\.program).joined(separator: " | "), advice: "\(error)")
        }
    }
}

extension Pipeline {
    private typealias Joint = (reader: FileDescriptor, writer: FileDescriptor)

    /// The pipes between the stages. Each end is closed by the stage that it is given to.
    private static func makeJoints(_ count: Int) throws(IPCError) -> [Joint] {
        var joints: [Joint] = []
        do throws(IPCError) {
            for _ in 0..<count {
                let pipe = try AnonymousPipe()
                joints.append((pipe.reader.release(), pipe.writer.release()))
            }
        } catch {
            for joint in joints {
                try? joint.reader.close()
                try? joint.writer.close()
            }
            throw error
        }
        return joints
    }

    private static func runStage(
        _ command: Command, from source: FileDescriptor?, input: [UInt8], to target: FileDescriptor?, outputLimit: Int
    ) async throws -> (Outcome, [UInt8]) {
        let executable: Executable =
            command.program.contains("/") ? .path(FilePath(command.program)) : .name(command.program)
        let arguments = Arguments(command.arguments)
        do {
            switch (source, target) {
            case (nil, nil):
                let result = try await Subprocess.run(
                    executable, arguments: arguments, input: .array(input), output: .bytes(limit: outputLimit),
                    error: .currentStandardError)
                return (outcome(result.terminationStatus), result.standardOutput)
            case (nil, let target?):
                let result = try await Subprocess.run(
                    executable, arguments: arguments, input: .array(input),
                    output: .fileDescriptor(target, closeAfterSpawningProcess: true), error: .currentStandardError)
                return (outcome(result.terminationStatus), [])
            case (let source?, nil):
                let result = try await Subprocess.run(
                    executable, arguments: arguments, input: .fileDescriptor(source, closeAfterSpawningProcess: true),
                    output: .bytes(limit: outputLimit), error: .currentStandardError)
                return (outcome(result.terminationStatus), result.standardOutput)
            case (let source?, let target?):
                let result = try await Subprocess.run(
                    executable, arguments: arguments, input: .fileDescriptor(source, closeAfterSpawningProcess: true),
                    output: .fileDescriptor(target, closeAfterSpawningProcess: true), error: .currentStandardError)
                return (outcome(result.terminationStatus), [])
            }
        } catch let error as SubprocessError {
            if error.code == .outputLimitExceeded {
                throw IPCError(
                    .messageTooLarge, "read", command.program,
                    advice: "the output is longer than \(outputLimit) bytes; raise outputLimit")
            }
            if error.code == .executableNotFound || error.code == .spawnFailed {
                return (.notStarted(reason: error.description), [])
            }
            throw error
        }
    }

    private static func outcome(_ status: TerminationStatus) -> Outcome {
        switch status {
        case .exited(let code): .ended(.exited(code))
        case .signaled(let signal): .ended(.signaled(Signal(rawValue: signal)))
        }
    }
}
