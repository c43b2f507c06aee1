import ArgumentParser
import Glibc
import IPC
import IPCChannels
import IPCBenchmarks

/// `ipc choose`: the guide's comparison, as an adviser.
struct ChooseCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "choose",
        abstract: "Recommend a mechanism, with reasons, figures from this machine, and code.",
        discussion: """
            On a terminal and without options, it asks for the requirements. The figures are those of the last `ipc bench`.

            Examples:
              ipc choose
              ipc choose --size 1000000 --rate 100 --survives-crash
            """)

    @Flag(inversion: .prefixedNo, help: "One process is the parent of the other.") var related: Bool?
    @Flag(inversion: .prefixedNo, help: "The processes are on different machines.") var remote: Bool?
    @Option(help: "Message size in bytes.", transform: Numbers.count) var size: Int?
    @Option(help: "Messages per second.", transform: Numbers.count) var rate: Int?
    @Option(help: "Receivers: one, all, any one of several, or one that replies.") var receivers: Advice.Receivers?
    @Flag(inversion: .prefixedNo, help: "Messages must stay in order.") var ordering: Bool?
    @Flag(inversion: .prefixedNo, help: "Messages must survive the death of a process.") var survivesCrash: Bool?
    @OptionGroup var format: FormatOption

    func validate() throws {
        if remote == true, related == true {
            throw ValidationError(
                "--remote and --related: a parent and its child are on one machine; leave one of them out.")
        }
    }

    func perform() async throws {
        var needs = Advice.Needs()
        let isAsking =
            isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1
            && [related, remote, ordering, survivesCrash] == [nil, nil, nil, nil]
            && size == nil && rate == nil && receivers == nil
        needs.remote = try remote ?? (isAsking && ask("Are the processes on different machines?"))
        if !needs.remote { needs.related = try related ?? (isAsking && ask("Is one process the parent of the other?")) }
        needs.size = try size ?? (isAsking ? askNumber("How many bytes does a message have?", 64) : 64)
        needs.rate = try rate ?? (isAsking ? askNumber("How many messages per second?", 1000) : 1000)
        needs.receivers = try receivers ?? (isAsking ? askReceivers() : .one)
        needs.ordering = try ordering ?? (isAsking && ask("Must messages stay in order?"))
        needs.survivesCrash = try survivesCrash ?? (isAsking && ask("Must messages survive the death of a process?"))

        let advice = Advice(needs)
        let figures = BenchCache.figures(advice.mechanism)
        if format.format == .json {
            let json = JSONValue.members([
                ("mechanism", .string(advice.mechanism.rawValue)), ("type", .string(advice.type)),
                ("reasons", .array(advice.reasons.map { .string($0) })), ("measured", JSONValue(figures)),
                ("code", .string(advice.code)),
            ])
            return try MessageOutput.put(line: json.text)
        }
        var lines = ["\(advice.type)  (\(advice.mechanism.facts.suits))", ""]
        lines += advice.reasons.map { "- " + $0 }
        lines.append(
            "- "
                + (figures.map { "Measured here: " + $0 }
                    ?? "Not measured here yet: ipc bench --mechanism \(advice.mechanism.rawValue)"))
        lines += ["", advice.code]
        try MessageOutput.put(line: lines.joined(separator: "\n"))
    }

    private func ask(_ question: String) throws -> Bool {
        printError("\(question) [y/N] ", terminator: "")
        guard let answer = readLine() else { throw ExitCode(1) }
        return answer.lowercased().hasPrefix("y")
    }

    private func askNumber(_ question: String, _ byDefault: Int) throws -> Int {
        while true {
            printError("\(question) [\(byDefault)] ", terminator: "")
            guard let answer = readLine() else { throw ExitCode(1) }
            if answer.isEmpty { return byDefault }
            if let number = Numbers.digits(answer, as: Int.self) { return number }
            printError("Enter a number from 0 to \(Int.max).")
        }
    }

    private func askReceivers() throws -> Advice.Receivers {
        while true {
            printError(
                "Who receives a message: one process (one), all, any one of several (any), or one that replies (reply)? [one] ",
                terminator: "")
            guard let answer = readLine() else { throw ExitCode(1) }
            if answer.isEmpty { return .one }
            if let receivers = Advice.Receivers(rawValue: answer) { return receivers }
            printError("Enter one, all, any or reply.")
        }
    }
}

/// What suits, and why.
struct Advice {
    enum Receivers: String, CaseIterable, ExpressibleByArgument { case one, all, any, reply }

    struct Needs {
        var related = false
        var remote = false
        var size = 64
        var rate = 1000
        var receivers = Receivers.one
        var ordering = false
        var survivesCrash = false
    }

    let mechanism: Mechanism
    /// Of this library.
    let type: String
    let reasons: [String]
    let code: String

    init(_ needs: Needs) {
        var reasons: [String] = []
        if needs.remote {
            self = Self.between(needs)
            return
        }
        switch needs.receivers {
        case .reply:
            self.init(
                .service, "ServiceChannel",
                [
                    "A call returns a reply, has a deadline, and fails with an error if the server dies.",
                    "Several servers share the calls.",
                ],
                Self.service)
        case .any:
            reasons.append("Each message goes to one of several workers; the jobs of a dead worker go to another.")
            if needs.survivesCrash { reasons.append("A durable queue also survives a restart of the machine.") }
            self.init(.workQueue, "WorkQueue", reasons, Self.workQueue)
        case .all:
            reasons.append("Every subscriber gets every message, without a copy or a system call per subscriber.")
            self.init(needs.survivesCrash ? .topicShared : .topic, "Topic", reasons, Self.topic)
        case .one where needs.survivesCrash:
            self.init(
                .topic, "Topic",
                [
                    "Published messages stay in shared memory when a process dies; a durable topic keeps them on disk.",
                    "Messages stay in the order in which they were published.",
                ],
                Self.topic)
        case .one where needs.related && needs.rate <= 100_000 && needs.size <= 65_536:
            self.init(
                .pipe, "AnonymousPipe",
                [
                    "A parent and its child need no name, and nothing remains when they end.",
                    "At this rate, waking the other side costs more than copying.",
                ],
                Self.pipe)
        case .one where needs.rate <= 100_000 && needs.size <= 65_536:
            self.init(
                .unixStream, "StreamSocket",
                [
                    "Unrelated processes connect by a path, both ways; each can identify the other, and notices its end.",
                    "At this rate, waking the other side costs more than copying.",
                ],
                Self.unix)
        case .one:
            self.init(
                .topic, "Topic",
                [
                    "At \(needs.rate) messages per second of \(needs.size) B, copies and system calls dominate; "
                        + "shared memory needs neither."
                ],
                Self.topic)
        }
    }

    /// For processes on different machines.
    private static func between(_ needs: Needs) -> Advice {
        let bridge = [
            "Programs use it in shared memory on each machine; ipc bridge carries it between the machines, over NATS."
        ]
        switch needs.receivers {
        case .reply:
            return Advice(
                .service, "ServiceChannel",
                bridge + ["A call finds its server on whichever machine it runs; without one, it fails at once."],
                service + carried("math/roots"))
        case .any:
            return Advice(
                .workQueue, "WorkQueue",
                bridge + ["A job goes to a machine with a free worker; that of a dead worker goes to another."],
                workQueue + carried("orders"))
        case .all:
            return Advice(
                .topic, "Topic",
                bridge + ["Each message arrives once, in order, also after a bridge or a server died."],
                topic + carried("market/quotes"))
        case .one where needs.survivesCrash:
            return Advice(
                .topic, "Topic",
                bridge + ["What the server has acknowledged arrives once, in order, though bridges and programs die."],
                topic + carried("market/quotes"))
        case .one where needs.size <= 1400 && !needs.ordering && needs.rate > 100_000:
            return Advice(
                .udp, "DatagramSocket",
                [
                    "Only the network reaches another machine.",
                    "Messages are small and frequent, and may be lost or arrive out of order.",
                ], udp)
        case .one:
            return Advice(
                .tcp, "StreamSocket",
                [
                    "Only the network reaches another machine.",
                    "TCP keeps the order and reports a lost connection; frames carry the messages.",
                ], tcp)
        }
    }

    /// How a channel gets to the other machines.
    private static func carried(_ channel: String) -> String {
        "\n// on each machine: ipc bridge --server nats://HOST:4222 --channel \(channel)"
    }

    private init(_ mechanism: Mechanism, _ type: String, _ reasons: [String], _ code: String) {
        self.mechanism = mechanism
        self.type = type
        self.reasons = reasons
        self.code = code
    }

    /// Each compiles: a test sees to that.
    static let all = [udp, tcp, service, workQueue, topic, pipe, unix]

    private static let udp = """
        let socket = try DatagramSocket.connect(to: Endpoint("udp://127.0.0.1:9000"))
        try socket.send("21.5".utf8.span.bytes)
        """
    private static let tcp = """
        let socket = try await StreamSocket.connect(to: Endpoint("tcp://127.0.0.1:9000"), until: .after(.seconds(5)))
        try await socket.write(frame: "hello".utf8.span.bytes)
        for try await frame in try socket.frames() { print(frame.count) }
        """
    private static let service = """
        enum Refusal: Error, BitwiseCopyable { case negative }
        let roots = try ServiceChannel<Double, Double, Refusal>.openOrCreate("math/roots")
        var client = try roots.makeClient()
        let reply = try await client.call(2, until: .after(.seconds(1)))    // others: try await roots.serve { $0.squareRoot() }
        print(reply)
        """
    private static let workQueue = """
        let orders = try WorkQueue<UInt64>.openOrCreate("orders")
        var producer = try orders.makeProducer()
        try await producer.send(4711)                                      // others: try await orders.work { print($0.message) }
        """
    private static let topic = """
        struct Quote: BitwiseCopyable { var symbol: UInt32; var price: Double }
        let quotes = try Topic<Quote>.openOrCreate("market/quotes")
        var publisher = try quotes.makePublisher()
        try await publisher.publish(Quote(symbol: 7, price: 12.5))         // others: for try await quote in try quotes.makeSubscription().messages()
        """
    private static let pipe = """
        let pipe = try AnonymousPipe()
        let child = try ChildProcess("wc", ["-l"], descriptors: [0: pipe.reader.descriptor])
        let writer = pipe.closingReader()
        try await writer.write("hello\\n".utf8.span.bytes)
        try writer.close()
        _ = try await child.wait()
        """
    private static let unix = """
        let listener = try StreamListener(Endpoint("unix:///tmp/app.sock"))
        try await listener.serve(concurrency: 100) { connection in
            try await connection.write("hello\\n".utf8.span.bytes)   // others: StreamSocket.connect(to:)
        }
        """
}
