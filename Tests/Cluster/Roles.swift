import CIPCShims
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

/// A message of 64 bytes.
struct Quote: BitwiseCopyable {
    var id: UInt64
    var rest = (UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0))
}

struct Job: BitwiseCopyable {
    var id: UInt64
    var rest = (UInt64(0), UInt64(0), UInt64(0))
}

struct Question: BitwiseCopyable { var id: UInt64 }
struct Answer: BitwiseCopyable {
    var id: UInt64
    var answer: UInt64

    init(_ question: Question) { (id, answer) = (question.id, ~question.id) }
    func answers(_ id: UInt64) -> Bool { self.id == id && answer == ~id }
}
struct NoFailure: Error, BitwiseCopyable { var code: Int32 }

typealias Echo = ServiceChannel<Question, Answer, NoFailure>

/// The channels, of the same names on each host.
enum Names {
    static let topic = "cluster/topic"
    static let queue = "cluster/jobs"
    static let service = "cluster/echo"
}

/// What a participant does: `Cluster participant ROLE FILE NUMBER COUNT NANOSECONDS`, with `IPC_ROOT` for its host.
struct Participant {
    let file: String
    /// The source of what it sends, or a seed.
    let number: Int
    let count: Int
    /// From one to the next thing that it sends, or the mean time that a job or a call takes.
    let interval: UInt64

    /// How long a caller waits.
    static let patience = Duration.seconds(3)

    static func run(_ arguments: [String]) -> CInt {
        _ = ipc_die_with_parent()
        guard arguments.count == 5, let number = Int(arguments[2]), let count = Int(arguments[3]),
            let interval = UInt64(arguments[4])
        else {
            say("participant: \(arguments) are not ROLE FILE NUMBER COUNT NANOSECONDS")
            return 2
        }
        let participant = Participant(file: arguments[1], number: number, count: count, interval: interval)
        do {
            switch arguments[0] {
            case "publisher": try participant.publish()
            case "subscriber": try participant.subscribe()
            case "producer": try participant.produce()
            case "worker": try participant.work()
            case "client": try participant.call()
            case "server": try participant.serve()
            default: throw IPCError(.invalidArgument, "begin", arguments[0], advice: "there is no such role")
            }
            return 0
        } catch {
            say("\(arguments[0]) \(number): \(error)")
            return 1
        }
    }

    /// Calls `body` for each thing to be sent, when it is time.
    private func eachInTime(_ body: (UInt64, Int) throws -> Void) throws {
        let start = MonotonicClock.now
        for index in 0..<count {
            let due = start + UInt64(index) * interval
            let now = MonotonicClock.now
            if due > now { usleep(UInt32((due - now) / 1000)) }
            try body(Item(source: number, number: index).id, index)
        }
    }

    // MARK: Topic

    private func publish() throws {
        let counter = try Counter(file)
        var publisher = try Topic<Quote>.open(Names.topic).makePublisher()
        try eachInTime { id, index in
            try counter.begin(index)
            try publisher.publish(Quote(id: id))
            try counter.end(index)
        }
    }

    /// Goes on where a predecessor was killed.
    private func subscribe() throws {
        let records = try RecordWriter(file)
        let topic = try Topic<Quote>.open(Names.topic)
        var channel: UInt64
        var subscription: Topic<Quote>.Subscription
        if let last = records.last, let first = firstRecord() {
            channel = first.id
            subscription = try topic.makeSubscription(
                from: .position(ChannelPosition(channel: channel, offset: last.more)))
        } else {
            subscription = try topic.makeSubscription()
            channel = subscription.position.channel
            try records.append(Record(.joined, channel, subscription.position.offset))
        }
        while true {
            var batch: [Record] = []
            do throws(IPCError) {
                var quote: Quote? = try subscription.receive(until: .after(.seconds(1)))
                while let present = quote {
                    batch.append(Record(.message, present.id, subscription.position.offset))
                    quote = batch.count < 256 ? try subscription.tryReceive() : nil
                }
            } catch {
                guard error.code == .timedOut else { throw error }
            }
            let missed = subscription.takeMissed()
            if missed > 0 { batch.insert(Record(.missed, missed, subscription.position.offset), at: 0) }
            if !batch.isEmpty { try records.append(batch) }
        }
    }

    private func firstRecord() -> Record? {
        var reader = RecordReader(file)
        defer { reader.close() }
        return reader.readNew().first
    }

    // MARK: Work queue

    private func produce() throws {
        let counter = try Counter(file)
        var producer = try WorkQueue<Job>.open(Names.queue).makeProducer()
        try eachInTime { id, index in
            try counter.begin(index)
            try producer.send(Job(id: id))
            try counter.end(index)
        }
    }

    private func work() throws {
        var random = Seeded(UInt64(number))
        let records = try RecordWriter(file)
        var worker = try WorkQueue<Job>.open(Names.queue).makeWorker()
        while true {
            let job = try worker.next()
            let id = job.message.id
            try records.append(Record(.taken, id, UInt64(job.attempt)))
            usleep(UInt32(random.number(0...Int(interval / 500))))
            // Somebody else may have it by now, if this process was thought dead: it must not count then.
            let isDone = Self.acknowledge(job)
            try records.append(Record(isDone ? .done : .refused, id))
        }
    }

    private static func acknowledge(_ job: consuming WorkQueue<Job>.Job) -> Bool { (try? job.acknowledge()) != nil }

    // MARK: Service

    private func call() throws {
        let counter = try Counter(file)
        let records = try RecordWriter(file + ".calls")
        var client = try Echo.open(Names.service).makeClient()
        try eachInTime { id, index in
            try counter.begin(index)
            try records.append(Record(.begun, id))
            try records.append(Self.outcome(of: id, &client))
            try counter.end(index)
        }
    }

    private static func outcome(of id: UInt64, _ client: inout Echo.Client) -> Record {
        do throws(IPCError) {
            let answer = try client.call(Question(id: id), until: .after(patience))
            guard case .success(let answer) = answer, answer.answers(id) else { return Record(.wrong, id) }
            return Record(.answered, id)
        } catch {
            return Record(.failed, id, codes[error.code] ?? 0)
        }
    }

    /// The errors that a call may end with.
    static let codes: [IPCError.Code: UInt64] = [.timedOut: 1, .brokenPipe: 2, .overloaded: 3, .notReady: 4]

    private func serve() throws {
        var random = Seeded(UInt64(number))
        let records = try RecordWriter(file)
        var server = try Echo.open(Names.service).makeServer()
        while true {
            let call = try server.next()
            let question = try call.request
            try records.append(Record(.executed, question.id))
            usleep(UInt32(random.number(0...Int(interval / 500))))
            // Its caller may have gone.
            Self.reply(call, Answer(question))
        }
    }

    private static func reply(_ call: consuming Echo.Call, _ answer: Answer) { try? call.reply(answer) }
}

/// Prints a line at once.
func say(_ text: String) {
    var line = text + "\n"
    _ = line.withUTF8 { write(1, $0.baseAddress, $0.count) }
}
