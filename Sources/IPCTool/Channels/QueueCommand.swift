import ArgumentParser
import IPC
import IPCChannels

/// `ipc queue`: each message to one worker.
struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Share work out: each message goes to one worker, which acknowledges it.",
        discussion: """
            Examples:
              find . -name '*.png' | ipc queue push thumbnails
              ipc queue work thumbnails --concurrency 4 -- ./make-thumbnail
              ipc queue peek thumbnails
              ipc queue push reminders --delay 60 'call back'
              ipc queue dead thumbnails
              ipc queue dead thumbnails --redrive
            """,
        subcommands: [Push.self, Work.self, Peek.self, Dead.self, InfoCommand.self])

    struct Push: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Send messages: the arguments, or standard input.")

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "Messages. Without any, they are read from standard input.") var messages: [String] = []
        @OptionGroup var framing: FramingOption
        @OptionGroup var creation: CreationOptions
        @OptionGroup var retries: RetryOptions
        @Option(name: .long, help: "Nobody gets them before so many seconds.", transform: Numbers.seconds)
        var delay: Duration?
        @Option(
            name: .long, help: "After so many seconds they go to the dead letters.", transform: Numbers.seconds)
        var timeToLive: Duration?
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let queue = try WorkQueue<RawBytes>.openOrCreate(channel.name, creation, retries)
            let options = JobOptions(delay: delay ?? .zero, timeToLive: timeToLive)
            var producer = try queue.makeProducer()
            let type = producer.carriedType
            var source = MessageSource(messages, framing.framing)
            while let message = try await source.next() {
                try type.check(message)
                try await unsafe producer.send(message.span.bytes, options, until: timeout.deadline)
            }
        }
    }

    struct Work: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Take jobs. Each is printed and acknowledged; or given to a command's standard input.",
            discussion: """
                With a command, its exit code decides: 0 acknowledges the job, anything else gives it back, and it is tried
                again, as often as the queue allows. So does an error in writing the job to it, except that a command may end with 0
                before it has read everything. IPC_ATTEMPT tells the command which time it is.

                Each command is a process group of its own. When this program ends, whatever ends it, commands whose jobs are not
                acknowledged end too, with the processes that they started: by SIGTERM, and by SIGKILL after two seconds, or
                at once if this program was killed.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "End after so many jobs.", transform: Numbers.count) var count: Int?
        @Option(name: .long, help: "How many commands run at a time.", transform: Numbers.positive) var concurrency = 1
        @OptionGroup var framing: FramingOption
        @OptionGroup var creation: CreationOptions
        @OptionGroup var retries: RetryOptions
        @OptionGroup var timeout: TimeoutOption
        @Argument(parsing: .postTerminator, help: "A command, after --.") var command: [String] = []

        /// More than commands have between SIGTERM and SIGKILL.
        var patience: Duration { command.isEmpty ? .seconds(1) : .seconds(10) }

        func perform() async throws {
            // Before the queue is opened, so that the process that watches over commands has nothing of it.
            let run = command.isEmpty ? nil : try CommandRun(command)
            let queue = try WorkQueue<RawBytes>.openOrCreate(channel.name, creation, retries)
            var worker = try queue.makeWorker()
            if let run {
                try await work(&worker, run)
            } else {
                let output = MessageOutput(framing: framing.framing)
                for _ in 0..<(count ?? .max) {
                    let job = try await worker.next(until: timeout.deadline)
                    try output.write(job.withBytes { $0.array })
                    try job.acknowledge()
                }
            }
        }

        private func work(_ worker: inout Worker<RawBytes>, _ command: CommandRun) async throws {
            // Left only when all commands have ended: when this task is cancelled, or one cannot be started, the others are.
            try await withThrowingTaskGroup(of: Void.self) { group in
                var running = 0
                for _ in 0..<(count ?? .max) {
                    if running >= concurrency {
                        try await group.next()
                        running -= 1
                    }
                    let delivery: Delivery<RawBytes>
                    do throws(IPCError) {
                        delivery = Delivery(try await worker.next(until: timeout.deadline))
                    } catch {
                        // Those that run may end: only then is it said that no more came.
                        if error.code == .timedOut { try await group.waitForAll() }
                        throw error
                    }
                    group.addTask { try await Self.work(delivery, command) }
                    running += 1
                }
                try await group.waitForAll()
            }
        }

        /// A job that is not acknowledged is given back when the delivery is let go of, after its command has ended.
        private static func work(_ delivery: Delivery<RawBytes>, _ command: CommandRun) async throws {
            let input = try delivery.withBytes { $0.array }
            do throws(IPCError) {
                let (status, _) = try await command(input, environment: ["IPC_ATTEMPT=\(delivery.attempt)"])
                if status.isSuccess { return try delivery.acknowledge() }
                printError("ipc: \(command.words[0]): \(status) at attempt \(delivery.attempt); the job is given back")
            } catch {
                // The others of this group end too: the same command cannot be started for them, or all are to end. The job was not
                // tried, or not to its end, through no fault of its own: that does not count as an attempt.
                guard error.code != .childFailed, error.code != .cancelled else {
                    delivery.release()
                    throw error
                }
                printError("ipc: \(error); the job is given back")
            }
            delivery.reject()
        }
    }

    struct Peek: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Print what is in a queue, without taking it.")

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var format: FormatOption

        func perform() async throws {
            try JobTable.print(WorkQueue<RawBytes>.openAnyType(channel.name), format.format)
        }
    }

    struct Dead: Interruptible {
        static let configuration = CommandConfiguration(
            abstract:
                "Print the dead letters: what was handed out too often, or not in time, or is not of the queue's type.",
            discussion: "They stay, unless --redrive sends them back to their queue, or --purge does away with them.")

        @OptionGroup var channel: ChannelArgument
        @Flag(name: .long, help: "Send them back to the queue; their attempts begin again.") var redrive = false
        @Flag(name: .long, help: "Do away with them.") var purge = false
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws {
            if redrive, purge { throw ValidationError("--redrive or --purge, not both.") }
        }

        func perform() async throws {
            let queue = try WorkQueue<RawBytes>.openAnyType(channel.name)
            let letters: WorkQueue<RawBytes>
            do throws(IPCError) {
                letters = try WorkQueue<RawBytes>.openAnyType(channel.name + "/dead-letters")
            } catch {
                guard error.code == .notFound else { throw error }
                return  // there were none yet
            }
            if redrive {
                let deadline = timeout.timeout == nil ? Deadline.after(.seconds(5)) : timeout.deadline
                try MessageOutput.put(line: "\(queue.redrive(until: deadline)) sent back")
            } else if purge {
                try MessageOutput.put(line: "\(letters.purge()) done away with")
            } else {
                try JobTable.print(letters, format.format)
            }
        }
    }
}

/// What is in a queue, a line each.
private enum JobTable {
    static func print(_ queue: WorkQueue<RawBytes>, _ format: OutputFormat) throws {
        for job in try queue.browse() {
            try MessageOutput.put(line: format == .json ? json(job).text : text(job))
        }
    }

    private static func text(_ job: BrowsedJob<RawBytes>) -> String {
        var words: [String] = []
        if let letter = job.deadLetter {
            words.append("\(name(letter.reason)) after \(letter.attempts) attempts")
            if letter.process != 0 { words.append("last in process \(letter.process)") }
        }
        if let worker = job.worker { words.append("taken by process \(worker)") }
        if let due = job.dueIn { words.append("due in \((due / .seconds(1) * 10).rounded(.up) / 10) s") }
        if job.deadLetter == nil, job.worker == nil, job.attempts > 0 {
            words.append("back, attempts: \(job.attempts)")
        }
        let what = words.isEmpty ? "" : "  (" + words.joined(separator: ", ") + ")"
        return Table.printable(job.bytes) + what
    }

    private static func json(_ job: BrowsedJob<RawBytes>) -> JSON {
        var fields: [(String, JSON)] = [
            ("stage", .string(job.worker == nil ? "waiting" : "taken")), ("attempts", .integer(job.attempts)),
        ]
        if let worker = job.worker { fields.append(("worker", .integer(Int(worker)))) }
        if let due = job.dueIn { fields.append(("dueIn", .number(due / .seconds(1)))) }
        if let letter = job.deadLetter {
            fields += [
                ("reason", .string(name(letter.reason))), ("letterAttempts", .integer(letter.attempts)),
                ("time", .number(letter.time)), ("process", .integer(Int(letter.process))),
            ]
        }
        return JSON.object(fields + [job.bytes.json])
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
