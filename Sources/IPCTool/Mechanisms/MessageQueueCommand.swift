import ArgumentParser
import IPC
import IPCChannels

/// `ipc mq`: POSIX message queues.
struct MessageQueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mq", abstract: "Create, send to, receive from and remove POSIX message queues.",
        discussion: """
            Examples:
              ipc mq create /jobs --max-messages 10 --message-size 256
              ipc mq send /jobs urgent --priority 9
              ipc mq receive /jobs --timeout 5
              ipc mq info /jobs
            """,
        subcommands: [Create.self, Send.self, Receive.self, Info.self, Unlink.self])

    struct Create: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Create a message queue.")
        @OptionGroup var queue: POSIXNameArgument
        @Option(name: .long, help: "Maximum number of messages. (default: 10)", transform: Numbers.positive)
        var maxMessages = 10
        @Option(name: .long, help: "Maximum message size in bytes. (default: 8192)", transform: Numbers.positive)
        var messageSize = 8192

        func perform() async throws {
            _ = try MessageQueue.create(queue.name, maximumMessages: maxMessages, messageSize: messageSize)
        }
    }

    struct Send: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Send messages from the arguments, or from standard input.")
        @OptionGroup var queue: POSIXNameArgument
        @Argument(help: "Messages; by default, they are read from standard input.") var messages: [String] = []
        @Option(help: "The highest comes first. (default: 0)", transform: Numbers.whole(MessageQueue.priorities))
        var priority: UInt32 = 0
        @OptionGroup var framing: FramingOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.checkArguments(messages) }

        func perform() async throws {
            let open = SharedReference(try MessageQueue.open(queue.name, access: .writeOnly))
            var source = MessageSource(messages, framing.framing)
            var progress = SendingProgress(of: "message", to: queue.name) { nil }
            while let message = try await source.next() {
                try await progress.send(until: { timeout.deadline }) { (deadline) async throws(IPCError) in
                    try await unsafe open.value.send(message.span.bytes, priority: priority, until: deadline)
                }
            }
        }
    }

    struct Receive: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Receive messages, highest priority first.")
        @OptionGroup var queue: POSIXNameArgument
        @Option(help: "Stop after N messages. (default: 1)", transform: Numbers.count) var count: Int?
        @Flag(help: "Receive until interrupted.") var follow = false
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws {
            if follow, count != nil {
                throw ValidationError("--follow receives until interrupted, so --count has no effect; leave one out.")
            }
            try framing.check(format)
        }

        func perform() async throws {
            let open = SharedReference(try MessageQueue.open(queue.name, access: .readOnly))
            let output = MessageOutput(framing: framing.framing)
            for _ in 0..<(follow ? .max : count ?? 1) {
                let message = try await open.value.receive(until: timeout.deadline)
                if format.format == .json {
                    let line = JSONValue.members([("priority", .integer(Int(message.priority))), message.bytes.json])
                    try MessageOutput.put(line: line.text)
                } else {
                    try output.write(message.bytes)
                }
            }
        }
    }

    struct Info: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Print a queue's limits, and how full it is.")
        @OptionGroup var queue: POSIXNameArgument
        @OptionGroup var format: FormatOption

        func perform() async throws {
            let open = try MessageQueue.open(queue.name, access: .readOnly)
            let attributes = try open.attributes
            let facts: [(String, Int)] = [
                ("messages", attributes.currentMessages), ("maximum-messages", attributes.maximumMessages),
                ("message-size", attributes.messageSize),
            ]
            let text =
                format.format == .json
                ? JSONValue.members(facts.map { ($0, .integer($1)) }).text
                : facts.map { "\($0)  \($1)" }.joined(separator: "\n")
            try MessageOutput.put(line: text)
        }
    }

    struct Unlink: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Remove the name. Processes that use it keep it.")
        @OptionGroup var queue: POSIXNameArgument

        func perform() async throws { try MessageQueue.unlink(queue.name) }
    }
}

/// `ipc sem`: POSIX named semaphores.
struct SemaphoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sem", abstract: "Create, wait for, post and remove POSIX semaphores.",
        discussion: """
            Examples:
              ipc sem create /slots --value 4
              ipc sem wait /slots --timeout 10 && ./job; ipc sem post /slots
              ipc sem value /slots
            """,
        subcommands: [Create.self, Wait.self, Post.self, Value.self, Unlink.self])

    struct Create: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Create a semaphore.")
        @OptionGroup var semaphore: POSIXNameArgument
        @Option(
            help: "Initial value. (default: 0)",
            transform: Numbers.whole(0...UInt32(CInt.max)))
        var value: UInt32 = 0

        func perform() async throws { _ = try NamedSemaphore.create(semaphore.name, value: value) }
    }

    struct Wait: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Decrement the value; wait while it is 0.")
        @OptionGroup var semaphore: POSIXNameArgument
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            try await NamedSemaphore.open(semaphore.name).wait(until: timeout.deadline)
        }
    }

    struct Post: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Increment the value.")
        @OptionGroup var semaphore: POSIXNameArgument
        @Option(help: "Increment it by N. (default: 1)", transform: Numbers.count) var count = 1

        func perform() async throws {
            let open = try NamedSemaphore.open(semaphore.name)
            let room = Int(CInt.max) - open.value
            guard count <= room else {
                throw IPCError(
                    .limitReached, "post", semaphore.name,
                    advice: "its value is \(open.value), and the maximum is \(CInt.max); post at most \(room) times")
            }
            for number in 0..<count {
                // A thousand posts take no time; a billion do.
                if number % 1024 == 0, Task.isCancelled { throw IPCError.cancelled("post", semaphore.name) }
                try open.post()
            }
        }
    }

    struct Value: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Print the current value.")
        @OptionGroup var semaphore: POSIXNameArgument

        func perform() async throws { try MessageOutput.put(line: "\(NamedSemaphore.readValue(semaphore.name))") }
    }

    struct Unlink: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Remove the name. Processes that use it keep it.")
        @OptionGroup var semaphore: POSIXNameArgument

        func perform() async throws { try NamedSemaphore.unlink(semaphore.name) }
    }
}
