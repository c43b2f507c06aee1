import Glibc
import SystemPackage

extension Pipeline {
    /// What the first stage reads.
    enum Input: Sendable {
        case bytes([UInt8])
        case streamed(@Sendable (borrowing PipeWriter) async throws -> Void)
    }

    /// Where the last stage writes.
    package enum Output: Sendable {
        /// To the result, up to so many bytes.
        case collected(limit: Int)
        /// To this process's standard output.
        case inherited
        /// To somebody who reads it as it comes.
        case streamed(@Sendable (borrowing PipeReader) async throws -> Void)
    }

    /// As the public call, of an input that is there.
    ///
    /// - Parameters:
    ///   - output: Not streamed.
    ///   - guardian: Ends the stages if this process is killed.
    ///   - errorLimit: How many bytes of a captured standard error are kept.
    ///   - endsGroupsOnFailure: Whether what a stage that failed has left in the background is ended.
    package func run(
        input: [UInt8], output: Output, until deadline: Deadline, guardian: ProcessGuardian?, errorLimit: Int = 1 << 20,
        endsGroupsOnFailure: Bool = false
    ) async throws(IPCError) -> Result {
        do {
            return try await stream(
                .bytes(input), output, until: deadline, guardian: guardian, errorLimit: errorLimit,
                endsGroupsOnFailure: endsGroupsOnFailure)
        } catch {
            // Nothing else is thrown where nothing of the user's runs.
            throw error as! IPCError
        }
    }

    /// As the public call with closures, whose errors it throws unchanged.
    func stream(
        _ input: Input, _ output: Output, until deadline: Deadline, guardian: ProcessGuardian?, errorLimit: Int,
        endsGroupsOnFailure: Bool
    ) async throws -> Result {
        let name = commands.map(\.program).joined(separator: " | ")
        guard !commands.isEmpty else {
            throw IPCError(.invalidArgument, "pipeline", "", advice: "a pipeline needs at least one command")
        }
        guard !Task.isCancelled else { throw IPCError.cancelled("run", name) }
        guard !deadline.hasPassed else { throw IPCError.timedOut("run", name) }
        let run = try PipelineRun(self, output, guardian, errorLimit)
        let failure: any Error
        switch await run.exchange(input, until: deadline) {
        case .ended(let output, let errors):
            do throws(IPCError) {
                if endsGroupsOnFailure, try run.hasFailed() { await run.end(gracePeriod) }
                return Result(stages: try run.reap(), output: output, errors: errors, pipefail: pipefail)
            } catch {
                failure = error
            }
        case .failed(let error):
            switch error.code {
            case .cancelled:
                failure = IPCError(
                    .cancelled, "run", name, advice: "the task was cancelled, and the processes were ended")
            case .timedOut:
                failure = IPCError(
                    .timedOut, "run", name,
                    advice: "the deadline passed, and the processes were ended; allow more time")
            default: failure = error
            }
        case .thrown(let error): failure = error
        }
        // In a task of its own, which is not cancelled, so that it can wait.
        let ending = Task.detached { await run.end(gracePeriod) }
        await ending.value
        throw failure
    }
}

/// The stages of a pipeline that runs.
private final class PipelineRun: Sendable {
    private enum Started: Sendable {
        case running(SharedReference<ChildProcess>)
        case failed(reason: String)
    }

    private let commands: [Pipeline.Command]
    private let stages: [Started]
    private let input: Handover<PipeWriter>
    private let output: Handover<PipeReader>?
    private let errors: Handover<PipeReader>?
    private let target: Pipeline.Output
    private let errorLimit: Int
    private let guardian: ProcessGuardian?

    /// Starts all stages. If that is not possible, those that run are killed.
    init(
        _ pipeline: Pipeline, _ target: Pipeline.Output, _ guardian: ProcessGuardian?, _ errorLimit: Int
    ) throws(IPCError) {
        commands = pipeline.commands
        self.target = target
        self.errorLimit = errorLimit
        self.guardian = guardian
        let feed = try AnonymousPipe()
        var source = SharedReference(feed.reader)
        input = Handover(feed.writer)
        // The stages' only, once they run: closed here at the end of this function.
        var errorWriter: SharedReference<PipeWriter>?
        if pipeline.standardError == .captured {
            let pipe = try AnonymousPipe()
            errorWriter = SharedReference(pipe.writer)
            errors = Handover(pipe.reader)
        } else {
            errors = nil
        }
        var stages: [Started] = []
        var last: Handover<PipeReader>?
        for (index, command) in commands.enumerated() {
            var descriptors = [0 as CInt: source.value.descriptor]
            if let errorWriter { descriptors[2] = errorWriter.value.descriptor }
            let isLast = index == commands.count - 1
            if isLast, case .inherited = target {
                stages.append(try Self.start(command, descriptors, pipeline, guardian))
                continue
            }
            let pipe = try AnonymousPipe()
            descriptors[1] = pipe.writer.descriptor
            stages.append(try Self.start(command, descriptors, pipeline, guardian))
            // Closes the end that only the stage has from now on; the other one is the next stage's, or ours.
            let reader = pipe.closingWriter()
            if isLast { last = Handover(reader) } else { source = SharedReference(reader) }
        }
        self.stages = stages
        self.output = last
    }

    private static func start(
        _ command: Pipeline.Command, _ descriptors: [CInt: FileDescriptor], _ pipeline: Pipeline,
        _ guardian: ProcessGuardian?
    ) throws(IPCError) -> Started {
        // A captured one is among the descriptors.
        let standardError = pipeline.standardError == .captured ? .inherited : pipeline.standardError
        do throws(IPCError) {
            return .running(
                SharedReference(
                    try ChildProcess(
                        command.program, command.arguments, environment: pipeline.environment,
                        workingDirectory: pipeline.workingDirectory, standardError: standardError,
                        descriptors: descriptors, processGroup: pipeline.processGroup, guardian: guardian)))
        } catch {
            guard error.code == .childFailed else { throw error }
            return .failed(reason: "\(error)")
        }
    }

    private var children: [SharedReference<ChildProcess>] {
        stages.compactMap { if case .running(let child) = $0 { child } else { nil } }
    }

    // MARK: While it runs

    /// What a task of a run brings.
    private enum Part: Sendable {
        case fed
        case ended
        case output([UInt8])
        case errors([UInt8])
        case failed(IPCError)
        /// By a closure of the user's.
        case thrown(any Error)
    }

    /// How a run ends.
    enum Ending: Sendable {
        case ended(output: [UInt8], errors: [UInt8])
        case failed(IPCError)
        case thrown(any Error)
    }

    /// Feeds the first stage, reads what the last one writes, and waits for all, at the same time.
    func exchange(_ input: Pipeline.Input, until deadline: Deadline) async -> Ending {
        await withTaskGroup(of: Part.self) { group -> Ending in
            group.addTask { await self.feed(input, until: deadline) }
            group.addTask { await self.drainOutput(until: deadline) }
            for child in children { group.addTask { await Self.waitForExit(of: child, until: deadline) } }
            var awaited = children.count + 1
            if let errors {
                awaited += 1
                group.addTask { await self.drainErrors(errors, until: deadline) }
            }
            // A closure of the user's knows nothing of the deadline.
            if case .streamed = target, deadline != .never { group.addTask { await Self.sleep(until: deadline) } }
            var (output, errorOutput) = ([UInt8](), [UInt8]())
            defer { group.cancelAll() }
            // Not for the feeding: a process in the background may have the input open, and not read it.
            while awaited > 0, let part = await group.next() {
                switch part {
                case .fed: continue
                case .ended: break
                case .output(let bytes): output = bytes
                case .errors(let bytes): errorOutput = bytes
                case .failed(let error): return .failed(error)
                case .thrown(let error):
                    // It may have noticed first that all are cancelled.
                    return Task.isCancelled ? .failed(.cancelled("run", "pipeline")) : .thrown(error)
                }
                awaited -= 1
            }
            return .ended(output: output, errors: errorOutput)
        }
    }

    private func feed(_ source: Pipeline.Input, until deadline: Deadline) async -> Part {
        // Closed at the end of this function: the stage sees the end of its input.
        let writer = input.take()
        do {
            switch source {
            case .streamed(let write): try await write(writer)
            case .bytes(let bytes): try await Self.write(bytes, to: writer, until: deadline)
            }
            return .fed
        } catch let error as IPCError where error.code == .brokenPipe || (error.code == .cancelled && Task.isCancelled)
        {
            // Who reads no more wants no more. A cancelled feeding is one that nobody waits for, or that others tell of.
            return .fed
        } catch {
            if case .streamed = source { return Task.isCancelled ? .fed : .thrown(error) }
            return (error as? IPCError).map { .failed($0) } ?? .thrown(error)
        }
    }

    private static func write(
        _ bytes: [UInt8], to writer: borrowing PipeWriter, until deadline: Deadline
    ) async throws(IPCError) {
        // In pieces, so that it ends when it is cancelled though there is room each time.
        for start in stride(from: 0, to: bytes.count, by: 1 << 20) where !Task.isCancelled {
            let piece = unsafe bytes.span.bytes.extracting(start..<min(start + 1 << 20, bytes.count))
            try await writer.write(piece, until: deadline)
        }
    }

    private func drainOutput(until deadline: Deadline) async -> Part {
        guard let output else { return .output([]) }
        let reader = output.take()
        switch target {
        case .inherited: return .output([])
        case .streamed(let read):
            do {
                try await read(reader)
                return .output([])
            } catch {
                return .thrown(error)
            }
        case .collected(let limit):
            do throws(IPCError) {
                return .output(
                    try await Self.collect(reader, limit, commands.last!.program, "output", "outputLimit", deadline))
            } catch {
                return .failed(error)
            }
        }
    }

    private func drainErrors(_ errors: Handover<PipeReader>, until deadline: Deadline) async -> Part {
        let reader = errors.take()
        do throws(IPCError) {
            return .errors(
                try await Self.collect(reader, errorLimit, "pipeline", "standard error", "its limit", deadline))
        } catch {
            return .failed(error)
        }
    }

    private static func collect(
        _ reader: borrowing PipeReader, _ limit: Int, _ resource: String, _ stream: String, _ option: String,
        _ deadline: Deadline
    ) async throws(IPCError) -> [UInt8] {
        var bytes: [UInt8] = []
        while try await Self.read(reader, into: &bytes, until: deadline) {
            guard bytes.count <= limit else {
                throw IPCError(
                    .messageTooLarge, "read", resource,
                    advice: "the \(stream) is longer than \(limit) bytes; raise \(option)")
            }
            // It may be written so fast that reading never waits.
            if Task.isCancelled { throw .cancelled("read", "pipeline") }
            if deadline.hasPassed { throw .timedOut("read", "pipeline") }
        }
        return bytes
    }

    /// - Returns: False at the end.
    private static func read(
        _ reader: borrowing PipeReader, into bytes: inout [UInt8], until deadline: Deadline
    ) async throws(IPCError) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var elements = chunk.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let count = try await reader.read(into: &buffer, until: deadline)
        bytes += chunk[..<count]
        return count > 0
    }

    private static func sleep(until deadline: Deadline) async -> Part {
        do throws(IPCError) {
            if case .deadlinePassed = try await Reactor.park(until: deadline, { _ in true }) {
                return .failed(.timedOut("run", "pipeline"))
            }
            return .fed
        } catch {
            return .failed(error)
        }
    }

    private static func waitForExit(of child: SharedReference<ChildProcess>, until deadline: Deadline) async -> Part {
        do throws(IPCError) {
            try await child.value.handle.waitForExit(until: deadline)
            return .ended
        } catch {
            return .failed(error)
        }
    }

    // MARK: When it has ended

    /// Whether a stage failed, before any is waited for.
    func hasFailed() throws(IPCError) -> Bool {
        for stage in stages {
            guard case .running(let child) = stage, try child.value.tryPeek()?.isSuccess == true else { return true }
        }
        return false
    }

    /// Takes the exit statuses. Until then, the numbers of the children and their groups cannot mean others.
    func reap() throws(IPCError) -> [Pipeline.Stage] {
        var ended: [Pipeline.Stage] = []
        for (command, stage) in zip(commands, stages) {
            switch stage {
            case .failed(let reason):
                ended.append(Pipeline.Stage(command: command, outcome: .notStarted(reason: reason)))
            case .running(let child):
                guardian?.forget(child.value.handle.identifier)
                ended.append(Pipeline.Stage(command: command, outcome: try Self.outcome(of: child)))
            }
        }
        return ended
    }

    private static func outcome(of child: SharedReference<ChildProcess>) throws(IPCError) -> Pipeline.Outcome {
        do throws(IPCError) {
            return .ended(try child.value.wait(until: .immediate))
        } catch {
            guard error.errno == .noChildProcess else { throw error }
            return .statusLost(reason: error.advice)
        }
    }

    /// Ends all stages, and the processes in their groups.
    func end(_ grace: Duration) async {
        await ProcessGroups.end(children, grace)
        for child in children { guardian?.forget(child.value.handle.identifier) }
    }
}
