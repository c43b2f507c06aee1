import ArgumentParser
import IPC
import IPCChannels

/// `ipc queue`: each message to one worker.
struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Share jobs among workers: each job goes to one worker, which acknowledges it.",
        discussion: """
            Examples:
              find . -name '*.png' | ipc queue push thumbnails
              ipc queue work thumbnails --concurrency 4 -- ./make-thumbnail
              ipc queue work thumbnails --drain -- ./make-thumbnail
              ipc queue peek thumbnails
              ipc queue push reminders --delay 60 'call back'
              ipc queue dead thumbnails
              ipc queue dead thumbnails --redrive
              ipc queue create orders --schema order.json
              ipc queue push orders '{"number":7,"count":2}'
            """,
        subcommands: [Create.self, Push.self, Work.self, Peek.self, Dead.self, InfoCommand.self])

    struct Push: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Send messages from the arguments, or from standard input.",
            discussion: """
                Sending waits while the queue is full; after a second, a note on standard error says what it waits for. An error \
                says how many messages were sent before.

                If the queue has a schema, each message is JSON that fits it. An error names the field (exit code 64).
                """)

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "Messages; by default, they are read from standard input.") var messages: [String] = []
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption
        @OptionGroup var creation: QueueCreationOptions
        @Option(name: .long, help: "Deliver the messages after N seconds.", transform: Numbers.seconds)
        var delay: Duration?
        @Option(
            name: .long, help: "Move messages to the dead letters after N seconds.", transform: Numbers.seconds)
        var timeToLive: Duration?
        @Flag(name: .long, help: "Fail at once, with exit code 75, if no worker has joined.") var requireWorker = false
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.checkArguments(messages) }

        func perform() async throws {
            let queue = try AnyChannel.openOrCreate(channel.name, creation)
            var writer = try queue.makeWriter()
            let format = MessageFormat(queue, framing.framing, isRaw: raw.raw)
            let options = JobOptions(
                delay: delay ?? .zero, timeToLive: timeToLive, requiresWorker: requireWorker)
            var source = MessageSource(messages, framing.framing)
            var progress = SendingProgress(of: "message", to: channel.name) { [name = channel.name] in
                Hindrance.ofQueue(name)
            }
            while let given = try await source.next() {
                let message = try progress.message(given, format)
                try await progress.send(until: { timeout.deadline }) { (deadline) async throws(IPCError) in
                    try await unsafe writer.write(message.span.bytes, options, until: deadline)
                }
            }
        }
    }

    struct Work: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Take jobs: print and acknowledge each, or pass it to a command's standard input.",
            discussion: """
                The exit code of the command decides: 0 acknowledges the job; any other code rejects it. A rejected job is tried \
                again, as often as the queue allows (--attempts); after its last attempt it is a dead letter at once. An error in \
                writing the job to the command also rejects it, unless the command exits with 0 without reading everything. \
                IPC_ATTEMPT is the number of the attempt.

                The command gets a job as it would be printed: by default as a line with a newline at its end; with --whole byte \
                for byte, as it was sent. If the queue has a schema, that line is JSON, unless --raw is given. A job that does not \
                fit the schema becomes a dead letter; ipc queue dead names the field.

                --drain stops when no due job is waiting and all commands of this worker have ended. It does not wait for delayed \
                jobs, such as rejected jobs of a queue with --backoff, or for the jobs of other workers. On QUEUE/dead-letters, it \
                tries each letter once.

                The exit code is 1 if a command failed, even if its job succeeded at a later attempt; 3 if no command failed and \
                no job arrived before --timeout.

                Each command is a process group of its own. When this program ends, for whatever reason, the commands of \
                unacknowledged jobs end too, with the processes that they started: by SIGTERM, and after two seconds by SIGKILL; \
                or at once if this program was killed.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(
            name: .long, help: "Stop after N jobs; another attempt at a job counts again.", transform: Numbers.count)
        var count: Int?
        @Flag(name: .long, help: "Stop when no due job is waiting.") var drain = false
        @Option(name: .long, help: "Maximum number of commands at a time. (default: 1)", transform: Numbers.positive)
        var concurrency: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption
        @OptionGroup var format: FormatOption
        @OptionGroup var creation: QueueCreationOptions
        @OptionGroup var timeout: TimeoutOption
        @Argument(parsing: .postTerminator, help: "Command and arguments, after --.") var command: [String] = []

        /// More than commands have between SIGTERM and SIGKILL.
        var patience: Duration { command.isEmpty ? .seconds(1) : .seconds(10) }

        func validate() throws {
            if command.isEmpty, concurrency != nil {
                throw ValidationError(
                    "--concurrency limits commands, and no command is given after --; leave it out, or give a command."
                )
            }
            if !command.isEmpty, format.format == .json {
                throw ValidationError(
                    "--format json is for printed jobs, and these go to a command (\(command[0])); leave one of them out."
                )
            }
            if drain, timeout.timeout != nil {
                throw ValidationError(
                    "--drain stops when no job is waiting, so --timeout has no effect; leave one of them out.")
            }
            try framing.check(format)
        }

        func perform() async throws {
            // Before the queue is opened, so that the process that watches over commands has nothing of it.
            let run = command.isEmpty ? nil : try CommandRun(command)
            let opened = try AnyChannel.openOrCreate(channel.name, creation)
            let messages = MessageFormat(opened, framing.framing, isRaw: raw.raw)
            let queue = try opened.workQueue
            var worker = try queue.makeWorker()
            guard let run else { return try await printJobs(&worker, of: queue, messages) }
            let description = try ChannelDescription(queue.name, countsMessages: drain)
            // Dead letters have no last attempt: with --drain each that is there now is tried once, or the worker would never end.
            let isTriedOnce = drain && description.maximumAttempts == nil
            let command = JobCommand(
                run: run, messages: messages,
                back: JobReturn(
                    queue: queue, maximumAttempts: description.maximumAttempts, delay: isTriedOnce ? .seconds(5) : nil))
            let waiting = max(description.messageCount - description.takenCount, 0)
            try await runCommands(&worker, command, limit: min(count ?? .max, isTriedOnce ? waiting : .max))
        }

        private func printJobs(
            _ worker: inout WorkQueue<RawBytes>.Worker, of queue: WorkQueue<RawBytes>, _ messages: MessageFormat
        ) async throws {
            for _ in 0..<(count ?? .max) {
                guard let delivery = try await next(&worker) else { return }
                let bytes = try delivery.withBytes { $0.array }
                let text: [UInt8]
                do throws(IPCError) {
                    if format.format == .json {
                        let fields = [("attempt", JSONValue.integer(delivery.attempt)), try messages.member(bytes)]
                        text = Array((JSONValue.members(fields).text + "\n").utf8)
                    } else {
                        text = try messages.framed(bytes)
                    }
                } catch {
                    // Not lost without a word: after its last attempt it is a dead letter.
                    let limit = try ChannelDescription(queue.name, countsMessages: false).maximumAttempts
                    JobReturn(queue: queue, maximumAttempts: limit, delay: limit == nil ? .seconds(5) : nil)
                        .giveBack(delivery, "\(error)")
                    continue
                }
                try MessageOutput.put(text)
                try delivery.acknowledge()
            }
        }

        /// The next job.
        ///
        /// - Returns: nil if there is none, and it is not waited for.
        private func next(_ worker: inout WorkQueue<RawBytes>.Worker) async throws(IPCError) -> WorkQueue<RawBytes>
            .SharedJob?
        {
            guard drain else { return WorkQueue<RawBytes>.SharedJob(try await worker.next(until: timeout.deadline)) }
            if let job = try worker.tryNext() { return WorkQueue<RawBytes>.SharedJob(job) }
            do throws(IPCError) {
                // Long enough to see what the dead have left.
                return WorkQueue<RawBytes>.SharedJob(try await worker.next(until: .after(.milliseconds(50))))
            } catch {
                guard error.code == .timedOut else { throw error }
                return nil
            }
        }

        private func runCommands(
            _ worker: inout WorkQueue<RawBytes>.Worker, _ command: JobCommand, limit: Int
        ) async throws {
            let concurrency = concurrency ?? 1
            // Left only when all commands have ended: when this task is cancelled, or one cannot be started, the others are.
            let haveAllSucceeded = try await withThrowingTaskGroup(of: Bool.self) { group in
                var (left, running, haveAllSucceeded) = (limit, 0, true)
                /// - Returns: False if none runs.
                func waitForOne() async throws -> Bool {
                    guard let hasSucceeded = try await group.next() else { return false }
                    haveAllSucceeded = haveAllSucceeded && hasSucceeded
                    running -= 1
                    return true
                }
                while left > 0 {
                    if running >= concurrency { _ = try await waitForOne() }
                    let delivery: WorkQueue<RawBytes>.SharedJob?
                    do throws(IPCError) { delivery = try await next(&worker) } catch {
                        guard error.code == .timedOut else { throw error }
                        // Those that run may end: only then is it said that no more came.
                        while try await waitForOne() {}
                        guard !haveAllSucceeded else { throw error }
                        printError("ipc: \(error)")
                        return false
                    }
                    guard let delivery else {
                        // One that runs may fail, and its job come again.
                        if try await waitForOne() { continue }
                        return haveAllSucceeded
                    }
                    group.addTask { try await command(delivery) }
                    (left, running) = (left - 1, running + 1)
                }
                while try await waitForOne() {}
                return haveAllSucceeded
            }
            if !haveAllSucceeded { throw ExitCode(1) }
        }
    }

    struct Peek: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print the jobs in a queue, without taking them.",
            discussion: """
                If the queue has a schema, each job is printed as JSON. For a job that does not fit the schema, standard error \
                names the field, and its bytes are printed.
                """)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var format: FormatOption
        @Flag(name: .long, help: "Print bytes, also if the queue has a schema.") var raw = false

        func perform() async throws {
            try JobTable(AnyChannel.open(channel.name), isRaw: raw).print(format.format)
        }
    }

    struct Dead: Interruptible {
        static let configuration = CommandConfiguration(
            abstract:
                "Print the dead letters: jobs that were delivered too often, expired, or are not of the queue's type.",
            discussion: """
                They are kept until --redrive sends them back to their queue, or --purge removes them.

                If the queue has a schema, each job is printed as JSON. For a job that does not fit the schema, standard error \
                names the field, and its bytes are printed.

                With --format json, each line has: message, or text or hex, the job; reason; attempts, how often the job was delivered; \
                process, the last one that had it, or 0; time, when it became a dead letter, in seconds since 1970; stage, waiting \
                or taken (by a worker of QUEUE/dead-letters).
                """)

        @OptionGroup var channel: ChannelArgument
        @Flag(name: .long, help: "Send them back to the queue, with no attempts counted.") var redrive = false
        @Flag(name: .long, help: "Remove them.") var purge = false
        @Flag(name: .long, help: "Print bytes, also if the queue has a schema.") var raw = false
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws {
            if redrive, purge { throw ValidationError("--redrive and --purge exclude each other; leave one out.") }
            if !redrive, timeout.timeout != nil {
                throw ValidationError("--timeout has an effect only with --redrive; give both, or neither.")
            }
            if redrive || purge, raw {
                throw ValidationError(
                    "--raw is for printed letters, and \(redrive ? "--redrive" : "--purge") prints none; "
                        + "leave one of them out.")
            }
            if redrive || purge, format.format == .json {
                throw ValidationError(
                    "--format json is for printed letters, and \(redrive ? "--redrive" : "--purge") prints none; "
                        + "leave one of them out."
                )
            }
        }

        func perform() async throws {
            let queue = try AnyChannel.open(channel.name).workQueue
            // What no worker has met yet is among them, too.
            try queue.collectDeadLetters()
            let letters: AnyChannel
            do throws(IPCError) {
                letters = try AnyChannel.open(channel.name + "/dead-letters")
            } catch {
                guard error.code == .notFound else { throw error }
                return  // there were none yet
            }
            if redrive {
                let deadline = timeout.timeout == nil ? Deadline.after(.seconds(5)) : timeout.deadline
                try MessageOutput.put(line: "\(queue.redrive(until: deadline)) sent back")
            } else if purge {
                try MessageOutput.put(line: "\(letters.workQueue.purge()) purged")
            } else {
                try JobTable(letters, isRaw: raw).print(format.format)
            }
        }
    }
}

/// A command that is run for each job of a queue.
private struct JobCommand: Sendable {
    let run: CommandRun
    let messages: MessageFormat
    let back: JobReturn

    /// Runs it, and acknowledges the job or gives it back.
    ///
    /// - Returns: Whether it succeeded.
    func callAsFunction(_ delivery: WorkQueue<RawBytes>.SharedJob) async throws -> Bool {
        let bytes = try delivery.withBytes { $0.array }
        let input: [UInt8]
        do throws(IPCError) { input = try messages.framed(bytes) } catch {
            back.giveBack(delivery, "\(error)")
            return false
        }
        let failure: String
        do throws(IPCError) {
            let (status, _) = try await run(input, environment: ["IPC_ATTEMPT": "\(delivery.attempt)"])
            if status.isSuccess {
                try delivery.acknowledge()
                return true
            }
            failure = "\(run.words[0]): \(status) at attempt \(delivery.attempt)"
        } catch {
            // The others of this group end too: the same command cannot be started for them, or all are to end. The job was not
            // tried, or not to its end, through no fault of its own: that does not count as an attempt.
            guard error.code != .childFailed, error.code != .cancelled else {
                delivery.release()
                throw error
            }
            failure = "\(error)"
        }
        back.giveBack(delivery, failure)
        return false
    }
}

/// Gives jobs back that were not done.
private struct JobReturn: Sendable {
    let queue: WorkQueue<RawBytes>
    /// Of the queue; nil for no limit.
    let maximumAttempts: Int?
    /// When a job comes again that failed; nil for what the queue says.
    let delay: Duration?

    /// After its last attempt it is a dead letter, and at once: no worker may come to find it.
    func giveBack(_ delivery: WorkQueue<RawBytes>.SharedJob, _ failure: String) {
        delivery.reject(after: delay)
        guard let maximumAttempts, delivery.attempt >= maximumAttempts else {
            return printError("ipc: \(failure); the job returns to the queue")
        }
        do throws(IPCError) {
            try queue.collectDeadLetters()
            printError("ipc: \(failure), the last; the job is now a dead letter: ipc queue dead \(queue.name)")
        } catch {
            printError("ipc: \(failure), the last; the job becomes a dead letter later: \(error)")
        }
    }
}

/// What is in a queue, a line each.
private struct JobTable {
    private let channel: AnyChannel
    private let messages: MessageFormat

    init(_ channel: AnyChannel, isRaw: Bool) {
        self.channel = channel
        messages = MessageFormat(channel, isRaw: isRaw)
    }

    func print(_ format: OutputFormat) throws {
        for job in try channel.workQueue.browse() {
            try MessageOutput.put(line: format == .json ? json(job).text : text(job))
        }
    }

    /// What does not fit the schema is in the queue all the same: it is shown as bytes.
    private func printable(_ job: WorkQueue<RawBytes>.BrowsedJob) -> String {
        MessageFormat.skippingInvalid { () throws(IPCError) in try messages.printable(job.bytes) }
            ?? Table.printable(job.bytes)
    }

    private func text(_ job: WorkQueue<RawBytes>.BrowsedJob) -> String {
        var words: [String] = []
        if let letter = job.deadLetter {
            words.append("\(Self.name(letter.reason)) after \(letter.attempts) attempts")
            if letter.process != 0 { words.append("last in process \(letter.process)") }
        }
        if let worker = job.worker { words.append("taken by \(ProcFiles.description(worker))") }
        if let due = job.dueIn { words.append("due in \((due / .seconds(1) * 10).rounded(.up) / 10) s") }
        if job.deadLetter == nil, job.worker == nil, job.attempts > 0 {
            words.append("returned, attempts: \(job.attempts)")
        }
        let what = words.isEmpty ? "" : "  (" + words.joined(separator: ", ") + ")"
        return printable(job) + what
    }

    private func json(_ job: WorkQueue<RawBytes>.BrowsedJob) -> JSONValue {
        // A letter's are those of the job that it was, and not how often somebody has had the letter.
        let attempts = job.deadLetter?.attempts ?? job.attempts
        var fields: [(String, JSONValue)] = [
            ("stage", .string(job.worker == nil ? "waiting" : "taken")), ("attempts", .integer(attempts)),
        ]
        if let worker = job.worker { fields.append(("worker", .integer(Int(worker)))) }
        if let due = job.dueIn { fields.append(("dueIn", .decimal(due / .seconds(1)))) }
        if let letter = job.deadLetter {
            fields += [
                ("reason", .string(Self.name(letter.reason))), ("time", .decimal(letter.time)),
                ("process", .integer(Int(letter.process))),
            ]
        }
        let member = MessageFormat.skippingInvalid { () throws(IPCError) in try messages.member(job.bytes) }
        return JSONValue.members(fields + [member ?? job.bytes.json])
    }

    private static func name(_ reason: DeadLetter.Reason) -> String {
        switch reason {
        case .rejected: "rejected"
        case .workerDied: "worker died"
        case .invalid: "invalid"
        case .expired: "expired"
        }
    }
}
