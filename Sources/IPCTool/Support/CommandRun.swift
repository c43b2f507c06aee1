import ArgumentParser
import IPC

/// A command that is run for one message: on its standard input.
///
/// Each run is a process group of its own. Nothing of it goes on when the run is cut short, and nothing when this process is
/// killed; what it leaves in the background when it succeeds does.
struct CommandRun: Sendable {
    let words: [String]
    private let guardian: ProcessGuardian

    init(_ words: [String]) throws {
        guard !words.isEmpty else { throw ValidationError("no command is given after --; add one.") }
        self.words = words
        guardian = try ProcessGuardian()
    }

    /// Runs it, and waits for its end. A command that reads only a part of its input is none the worse.
    ///
    /// - Parameters:
    ///   - environment: Variables with other values than this process's.
    ///   - outputLimit: How many bytes of its standard output are wanted; nil to leave that to it.
    /// - Throws: `childFailed` if it cannot be started; any error in writing its input but that it reads no more; `cancelled`
    ///   if the task was, and then the command has been ended.
    func callAsFunction(
        _ input: [UInt8], environment: [String: String] = [:], outputLimit: Int? = nil
    ) async throws(IPCError) -> (status: ExitStatus, output: [UInt8]) {
        var pipeline = Pipeline([Pipeline.Command(words[0], Array(words.dropFirst()))])
        pipeline.environment = .changing(environment)
        let result = try await pipeline.run(
            input: input, output: outputLimit.map { .collected(limit: $0) } ?? .inherited, until: .never,
            guardian: guardian, endsGroupsOnFailure: true)
        if case .ended(let status) = result.stages[0].outcome { return (status, result.output) }
        try result.check()
        throw IPCError(.childFailed, "run", words[0], advice: "its exit status is not known")
    }
}
