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
              ipc queue dead thumbnails --requeue
            """,
        subcommands: [Push.self, Work.self, Peek.self, Dead.self, InfoCommand.self])

    struct Push: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Send messages: the arguments, or standard input.")

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "Messages. Without any, they are read from standard input.") var messages: [String] = []
        @OptionGroup var framing: FramingOption
        @OptionGroup var creation: CreationOptions
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let queue = try WorkQueue<RawBytes>.openOrCreate(channel.name, creation)
            var producer = try queue.makeProducer()
            let type = producer.carriedType
            var source = MessageSource(messages, framing.framing)
            while let message = try await source.next() {
                try type.check(message)
                try await unsafe producer.send(message.span.bytes, until: timeout.deadline)
            }
        }
    }

    struct Work: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Take jobs. Each is printed and acknowledged; or given to a command's standard input.",
            discussion: """
                With a command, its exit code decides: 0 acknowledges the job, anything else gives it back, and it is tried
                again, up to --attempts times. So does an error in writing the job to it, except that a command may end with 0
                before it has read everything. IPC_ATTEMPT tells the command which time it is.

                Each command is a process group of its own. When this program ends, whatever ends it, commands whose jobs are not
                acknowledged end too, with the processes that they started: by SIGTERM, and by SIGKILL after two seconds, or
                at once if this program was killed.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "End after so many jobs.", transform: Numbers.count) var count: Int?
        @Option(name: .long, help: "How many commands run at a time.", transform: Numbers.positive) var concurrency = 1
        @Option(name: .long, help: "After so many, a job goes to the dead letters.") var attempts = 5
        @OptionGroup var framing: FramingOption
        @OptionGroup var creation: CreationOptions
        @OptionGroup var timeout: TimeoutOption
        @Argument(parsing: .postTerminator, help: "A command, after --.") var command: [String] = []

        /// More than commands have between SIGTERM and SIGKILL.
        var patience: Duration { command.isEmpty ? .seconds(1) : .seconds(10) }

        func perform() async throws {
            // Before the queue is opened, so that the process that watches over commands has nothing of it.
            let run = command.isEmpty ? nil : try CommandRun(command)
            let queue = try WorkQueue<RawBytes>.openOrCreate(channel.name, creation, attempts: attempts)
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
            var tap = try ChannelTap(channel.name, from: .oldest)
            while let message = try tap.next() {
                guard let work = message.work, work.stage != .done else { continue }
                if format.format == .json {
                    let line = JSON.object([
                        ("position", JSON(clamping: message.position)), ("stage", .string(work.stage.rawValue)),
                        ("attempts", .integer(work.attempts)), message.bytes.json,
                    ])
                    try MessageOutput.put(line: line.text)
                } else {
                    let stage = work.stage == .taken ? "taken" : work.attempts > 0 ? "back " : "     "
                    try MessageOutput.put(line: "\(stage) \(Table.printable(message.bytes))")
                }
            }
        }
    }

    struct Dead: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print the dead letters: what was handed out too often.",
            discussion: "They stay, unless --requeue sends them back to their queue.")

        @OptionGroup var channel: ChannelArgument
        @Flag(name: .long, help: "Send them back to the queue.") var requeue = false
        @OptionGroup var framing: FramingOption

        func perform() async throws {
            let queue = try WorkQueue<RawBytes>.openAnyType(channel.name)
            let output = MessageOutput(framing: framing.framing)
            guard requeue else {
                guard var tap = try Self.tap(channel.name + "/dead-letters") else { return }
                while let letter = try tap.next() {
                    if letter.work?.stage != .done { try output.write(letter.bytes) }
                }
                return
            }
            var producer = try queue.makeProducer()
            var letters = try queue.deadLetters().makeWorker()
            while let letter = try letters.tryNext() {
                // Sent before it is acknowledged: killed between, it is in both, and not lost.
                try letter.withBytes { (bytes) throws(IPCError) in try producer.send(bytes, until: .after(.seconds(5)))
                }
                try output.write(letter.withBytes { $0.array })
                try letter.acknowledge()
            }
        }

        private static func tap(_ name: String) throws(IPCError) -> ChannelTap? {
            do throws(IPCError) { return try ChannelTap(name, from: .oldest) } catch  where error.code == .notFound {
                return nil
            }
        }
    }
}
