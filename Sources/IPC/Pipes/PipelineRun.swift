import Glibc
import SystemPackage

extension Pipeline {
    /// Where the last stage writes.
    package enum Output: Sendable {
        /// To the result, up to so many bytes.
        case collected(limit: Int)
        /// To this process's standard output.
        case inherited
    }

    /// As the public call.
    ///
    /// - Parameters:
    ///   - guardian: Ends the stages if this process is killed.
    ///   - endsGroupsOnFailure: Whether what a stage that failed has left in the background is ended.
    package func run(
        input: [UInt8], output: Output, until deadline: Deadline, guardian: ProcessGuardian?,
        endsGroupsOnFailure: Bool = false
    ) async throws(IPCError) -> Result {
        let name = commands.map(\.program).joined(separator: " | ")
        guard !commands.isEmpty else {
            throw IPCError(.invalidArgument, "pipeline", "", advice: "a pipeline needs at least one command")
        }
        guard !Task.isCancelled else { throw .cancelled("run", name) }
        guard !deadline.hasPassed else { throw .timedOut("run", name) }
        let run = try PipelineRun(self, output, guardian)
        do throws(IPCError) {
            let bytes = try await run.exchange(input, until: deadline)
            if endsGroupsOnFailure, try run.hasFailed() { await run.end(gracePeriod) }
            return Result(stages: try run.reap(), output: bytes)
        } catch {
            // In a task of its own, which is not cancelled, so that it can wait.
            let ending = Task.detached { await run.end(gracePeriod) }
            await ending.value
            switch error.code {
            case .cancelled:
                throw IPCError(.cancelled, "run", name, advice: "its task was cancelled, and its processes were ended")
            case .timedOut:
                throw IPCError(
                    .timedOut, "run", name,
                    advice: "the deadline passed, and its processes were ended; allow more time")
            default: throw error
            }
        }
    }
}

/// The stages of a pipeline that runs.
private final class PipelineRun: Sendable {
    private enum Started: Sendable {
        case running(Shared<ChildProcess>)
        case failed(reason: String)
    }

    private let commands: [Pipeline.Command]
    private let stages: [Started]
    private let input: Handover<PipeWriter>
    private let output: Handover<PipeReader>?
    private let limit: Int
    private let guardian: ProcessGuardian?

    /// Starts all stages. If that is not possible, those that run are killed.
    init(_ pipeline: Pipeline, _ target: Pipeline.Output, _ guardian: ProcessGuardian?) throws(IPCError) {
        commands = pipeline.commands
        self.guardian = guardian
        let feed = try AnonymousPipe()
        var source = Shared(feed.reader)
        input = Handover(feed.writer)
        var stages: [Started] = []
        var last: Handover<PipeReader>?
        var limit = 0
        for (index, command) in commands.enumerated() {
            var descriptors = [0 as CInt: source.value.descriptor]
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
            if case .collected(let bytes) = target, isLast {
                limit = bytes
                last = Handover(reader)
            } else {
                source = Shared(reader)
            }
        }
        self.stages = stages
        self.output = last
        self.limit = limit
    }

    private static func start(
        _ command: Pipeline.Command, _ descriptors: [CInt: FileDescriptor], _ pipeline: Pipeline,
        _ guardian: ProcessGuardian?
    ) throws(IPCError) -> Started {
        do throws(IPCError) {
            return .running(
                Shared(
                    try ChildProcess(
                        command.program, command.arguments, environment: pipeline.environment, descriptors: descriptors,
                        workingDirectory: pipeline.workingDirectory, processGroup: .new,
                        changes: pipeline.environmentChanges, guardian: guardian)))
        } catch {
            guard error.code == .childFailed else { throw error }
            return .failed(reason: "\(error)")
        }
    }

    private var children: [Shared<ChildProcess>] {
        stages.compactMap { if case .running(let child) = $0 { child } else { nil } }
    }

    // MARK: While it runs

    private enum Part: Sendable {
        case fed
        case ended
        case output([UInt8])
    }

    /// Feeds the first stage, collects what the last one writes, and waits for all, at the same time.
    func exchange(_ bytes: [UInt8], until deadline: Deadline) async throws(IPCError) -> [UInt8] {
        let result = await withTaskGroup(of: Result<Part, IPCError>.self) { group -> Result<[UInt8], IPCError> in
            group.addTask { await self.feed(bytes, until: deadline) }
            group.addTask { await self.drain(until: deadline) }
            for child in children { group.addTask { await Self.waitForExit(of: child, until: deadline) } }
            var (collected, awaited) = ([UInt8](), children.count + 1)
            defer { group.cancelAll() }
            // Not for the feeding: a process in the background may have the input open, and not read it.
            while awaited > 0, let part = await group.next() {
                switch part {
                case .success(.fed): break
                case .success(.ended): awaited -= 1
                case .success(.output(let bytes)):
                    collected = bytes
                    awaited -= 1
                case .failure(let error): return .failure(error)
                }
            }
            return .success(collected)
        }
        return try result.get()
    }

    private func feed(_ bytes: [UInt8], until deadline: Deadline) async -> Result<Part, IPCError> {
        // Closed at the end of this function: the stage sees the end of its input.
        let writer = input.take()
        do throws(IPCError) {
            // In pieces, so that it ends when it is cancelled though there is room each time.
            for start in stride(from: 0, to: bytes.count, by: 1 << 20) where !Task.isCancelled {
                let piece = unsafe bytes.span.bytes.extracting(start..<min(start + 1 << 20, bytes.count))
                try await writer.write(piece, until: deadline)
            }
            return .success(.fed)
        } catch {
            // Who reads no more wants no more. A cancelled feeding is one that nobody waits for, or that others tell of.
            return error.code == .brokenPipe || error.code == .cancelled ? .success(.fed) : .failure(error)
        }
    }

    private func drain(until deadline: Deadline) async -> Result<Part, IPCError> {
        guard let output else { return .success(.output([])) }
        let reader = output.take()
        var bytes: [UInt8] = []
        do throws(IPCError) {
            while try await Self.read(reader, into: &bytes, until: deadline) {
                guard bytes.count <= limit else {
                    let program = commands.last!.program
                    throw IPCError(
                        .messageTooLarge, "read", program,
                        advice: "the output is longer than \(limit) bytes; raise outputLimit")
                }
                // It may write so fast that reading never waits.
                if Task.isCancelled { throw .cancelled("read", "pipeline") }
                if deadline.hasPassed { throw .timedOut("read", "pipeline") }
            }
            return .success(.output(bytes))
        } catch {
            return .failure(error)
        }
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

    private static func waitForExit(
        of child: Shared<ChildProcess>, until deadline: Deadline
    ) async -> Result<Part, IPCError> {
        do throws(IPCError) {
            try await child.value.handle.waitForExit(until: deadline)
            return .success(.ended)
        } catch {
            return .failure(error)
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

    private static func outcome(of child: Shared<ChildProcess>) throws(IPCError) -> Pipeline.Outcome {
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

/// Something that cannot be copied, on its way to the task that takes it.
private final class Handover<Value: ~Copyable & Sendable>: @unchecked Sendable {
    // `@unchecked`: it is taken once, by a task that starts after it was put here.
    private var value: Value?
    init(_ value: consuming Value) { self.value = consume value }
    func take() -> Value { value.take()! }
}
