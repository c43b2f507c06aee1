import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

/// One run, inside of its namespaces.
final class Run {
    private let options: Options
    private let plan: Plan
    private let hosts: Hosts
    private var members: [Member] = []
    private var sources: [Source] = []
    private var violations = Violations()
    private var topics: [ReceivedTopic] = []
    private var jobs = WorkedJobs()
    private var calls = MadeCalls()
    private var fileCount = 0
    private let start = MonotonicClock.now

    private struct Figures {
        var kills: [Member.Role: Int] = [:]
        var stops = 0
        var cuts = 0
    }
    private var figures = Figures()
    /// When a link is up again.
    private var cutEnds: [Int: Double] = [:]

    /// How long it may take, after all was sent, until all has arrived. The jobs of a host that was cut off come back after 30 s.
    private static let patience = 120.0

    init(_ options: Options) throws {
        self.options = options
        plan = Plan(options)
        hosts = try Hosts(options)
        for host in 0..<Plan.hosts {
            for role in Member.Role.allCases {
                members += (0..<role.count).map { Member(role, host: host, index: $0) }
            }
        }
        for member in members where member.role.isSource {
            let total = [.publisher: options.messages, .producer: options.jobs, .client: options.calls][member.role]!
            let count = Plan.hosts * member.role.count
            let place = member.host * member.role.count + member.index
            member.left = total / count + (place < total % count ? 1 : 0)
        }
    }

    /// Seconds since the start.
    private var now: Double { Double(MonotonicClock.now - start) / 1e9 }

    func run() throws -> CInt {
        say(
            "Cluster --seed \(options.seed) --messages \(options.messages) --jobs \(options.jobs) --calls \(options.calls) --minutes \(options.seconds / 60) --cut \(options.cut)\(options.cuts.map { " --cuts \($0)" } ?? "")"
        )
        try prepare()
        let isThrough = try carryOut()
        let isComplete = try settle()
        check(isComplete)
        report()
        guard violations.count == 0, isThrough, isComplete else {
            try keepLogs()
            return 1
        }
        return 0
    }

    // MARK: Members

    private func path(_ name: String) -> String { "\(Hosts.folder)/\(name)" }

    private func log(_ member: Member) -> String {
        path("\(member.role.rawValue)-\(member.host + 1)-\(member.index).log")
    }

    private func begin(_ member: Member) throws {
        let root = Hosts.root(member.host)
        switch member.role {
        case .nats:
            try member.start(
                options.server, ["-c", path("nats-\(member.host + 1).conf")], root: root, log: log(member))
        case .bridge:
            try member.start(
                options.bridge, ["run", "--config", path("bridge-\(member.host + 1).json")], root: root,
                log: log(member))
        default:
            let (file, number) = newFile(of: member)
            try member.start(
                Cluster.program,
                ["participant", member.role.rawValue, file, "\(number)", "\(member.left)", "\(interval(of: member))"],
                root: root, log: log(member))
        }
    }

    /// From one to the next that a source sends, or the mean time of a job or a call, in nanoseconds.
    private func interval(of member: Member) -> UInt64 {
        func interval(_ total: Int, _ role: Member.Role) -> UInt64 {
            UInt64(options.seconds * 1e9) * UInt64(Plan.hosts * role.count) / UInt64(max(total, 1))
        }
        switch member.role {
        case .publisher: return interval(options.messages, .publisher)
        case .producer: return interval(options.jobs, .producer)
        case .client: return interval(options.calls, .client)
        // On one host jobs come as fast as they are done: then some wait, and go to others.
        case .worker where member.host == 0: return interval(options.jobs, .producer) * UInt64(Member.Role.worker.count)
        case .worker: return 4_000_000
        default: return 1_000_000
        }
    }

    /// The file in which a participant says what it does, and its number.
    private func newFile(of member: Member) -> (String, Int) {
        // A subscriber goes on in the file of its predecessor.
        if member.role == .subscriber { return (path("subscriber-\(member.host)-\(member.index)"), 0) }
        fileCount += 1
        let file = path("\(member.role.rawValue)-\(fileCount)")
        switch member.role {
        case .worker: jobs.add(file, host: member.host)
        case .server: calls.addServer(file, host: member.host)
        default:
            member.sourceFile = file
            sources.append(Source(role: member.role, host: member.host, file: file))
            if member.role == .client { calls.addClient(file) }
            return (file, sources.count - 1)
        }
        return (file, Int(truncatingIfNeeded: options.seed) & 0xffff + fileCount)
    }

    /// Takes over what a source has counted, once it has ended.
    private func count(_ member: Member) {
        guard let file = member.sourceFile, let index = sources.lastIndex(where: { $0.file == file }) else { return }
        member.sourceFile = nil
        (sources[index].begun, sources[index].ended) = Counter.read(file)
        // A call that began counts as made.
        member.left -= member.role == .client ? sources[index].begun : sources[index].ended
        if member.left <= 0 { member.isFinished = true }
    }

    private func kill(_ member: Member, for length: Double) {
        guard member.isRunning else { return }
        member.kill()
        figures.kills[member.role, default: 0] += 1
        note("\(member.name) is killed for \(length) s")
        count(member)
        member.changesAt = now + length
    }

    /// Says what happened, in a log, with the time of the monotonic clock in seconds.
    private func note(_ text: String) {
        let file = try? FileDescriptor.open(
            FilePath(path("events.log")), .writeOnly, options: [.append, .create], permissions: .ownerReadWrite)
        _ = try? file?.closeAfter { try file?.writeAll("\(Double(MonotonicClock.now) / 1e9) \(text)\n".utf8) }
    }

    private func member(_ role: Member.Role, _ host: Int, _ index: Int) -> Member {
        members.first { $0.role == role && $0.host == host && $0.index == index }!
    }

    // MARK: Phases

    /// Starts all but those who send.
    private func prepare() throws {
        let capacity = max(2 << 20, min(64 << 20, options.messages * 64))
        for host in 0..<Plan.hosts {
            let root = ChannelRoot(FilePath(Hosts.root(host)))
            _ = try Topic<Quote>.create(
                Names.topic, in: root, ChannelOptions(writers: .shared, lifetime: .kept, capacity: capacity))
            // Workers are killed again and again.
            _ = try WorkQueue<Job>.create(
                Names.queue, in: root, ChannelOptions(lifetime: .kept, capacity: 8 << 20), maximumAttempts: 100)
            _ = try Echo.create(Names.service, in: root, ServiceOptions(lifetime: .kept))
        }
        for member in members where member.role == .nats { try begin(member) }
        for member in members where !member.role.isSource && member.role != .nats && member.role != .bridge {
            try begin(member)
        }
        for host in 0..<Plan.hosts {
            for index in 0..<Member.Role.subscriber.count {
                let file = path("subscriber-\(host)-\(index)")
                topics.append(ReceivedTopic("subscriber \(index) of host \(host + 1)", file))
                try wait("\(file) is there") { access(file, R_OK) == 0 && !firstRecords(file).isEmpty }
            }
        }
        for member in members where member.role == .bridge { try begin(member) }
        for host in 0..<Plan.hosts {
            let root = ChannelRoot(FilePath(Hosts.root(host)))
            try wait("the bridge of host \(host + 1) carries") {
                let living = try ChannelDescription(ChannelName(Names.topic), in: root).participants.filter(\.isAlive)
                return living.count { $0.role == .reader } >= Member.Role.subscriber.count + 2
                    && living.count { $0.role == .writer } >= 2
            }
        }
        say("\(Int(now)) s: three servers, three bridges and their programs run")
    }

    private func firstRecords(_ file: String) -> [Record] {
        var reader = RecordReader(file)
        defer { reader.close() }
        return reader.readNew()
    }

    private func wait(_ what: String, _ isSo: () throws -> Bool) throws {
        let end = now + 60
        while try !isSo() {
            guard now < end else {
                try keepLogs()
                throw IPCError(.timedOut, "wait", what, advice: "it did not come to be within 60 s")
            }
            usleep(50_000)
        }
    }

    /// Sends everything, while what is planned happens.
    ///
    /// - Returns: False if it took too long.
    private func carryOut() throws -> Bool {
        let begin = now
        for member in members where member.role.isSource {
            member.isFinished = member.left == 0
            if !member.isFinished { try self.begin(member) }
        }
        var events = plan.events[...]
        let limit = begin + options.seconds * 3 + Self.patience
        while members.contains(where: { $0.role.isSource && !$0.isFinished }) {
            guard now < limit else {
                violations.add("not all was sent within \(Int(limit - begin)) s")
                return false
            }
            while let event = events.first, begin + event.time <= now {
                events.removeFirst()
                try happen(event)
            }
            try step()
            usleep(10_000)
        }
        say("\(Int(now)) s: all was sent")
        return true
    }

    private var nextRead = 0.0
    private var nextLine = 0.0

    /// What has to be done all the time.
    private func step() throws {
        for (host, end) in cutEnds where end <= now {
            try Hosts.setLink(of: host, isUp: true)
            cutEnds[host] = nil
        }
        for member in members {
            if let time = member.changesAt, time <= now {
                if member.isStopped {
                    member.send(.continue)
                    member.isStopped = false
                    member.changesAt = nil
                } else if !member.isFinished {
                    try begin(member)
                } else {
                    member.changesAt = nil
                }
            } else if member.isRunning, let status = member.ended() {
                count(member)
                guard member.role.isSource, status == .exited(0), member.isFinished else {
                    violations.add("\(member.name) ended by itself: \(status)\(lastLine(of: member))")
                    if !member.isFinished { member.changesAt = now + 1 }
                    continue
                }
            }
        }
        guard nextRead <= now else { return }
        read()
        nextRead = now + 0.5
        if nextLine <= now {
            nextLine = now + 10
            say(
                "\(Int(now)) s: received \(topics.map(\.total).min() ?? 0) to \(topics.map(\.total).max() ?? 0) messages, acknowledged \(jobs.doneCount) jobs, ended \(calls.ended) calls, \(figures.kills.values.reduce(0, +)) kills, \(figures.cuts) cuts"
            )
        }
    }

    private func lastLine(of member: Member) -> String {
        ": " + ((try? String(contentsOfLog: log(member))) ?? "").suffix(1000)
    }

    private func read() {
        for index in topics.indices { topics[index].read(sources, &violations) }
        jobs.read(sources, &violations)
        calls.read(sources, &violations)
    }

    private func happen(_ event: Plan.Event) throws {
        switch event.action {
        case .kill(let role, let host, let index): kill(member(role, host, index), for: event.length)
        case .leave(let role, let host):
            for member in members where member.role == role && member.host == host { kill(member, for: event.length) }
        case .stop(let role, let host, let index):
            let member = member(role, host, index)
            guard member.isRunning, !member.isStopped else { return }
            member.send(.stop)
            member.isStopped = true
            member.changesAt = now + event.length
            figures.stops += 1
            note("\(member.name) is stopped for \(event.length) s")
        case .cut(let host):
            guard cutEnds.isEmpty else { return }
            try Hosts.setLink(of: host, isUp: false)
            cutEnds[host] = now + event.length
            figures.cuts += 1
            note("host \(host + 1) is cut off for \(event.length) s")
        }
    }

    /// Nothing happens any more: waits until all has arrived.
    private func settle() throws -> Bool {
        for host in cutEnds.keys { cutEnds[host] = 0 }
        for member in members where member.changesAt != nil { member.changesAt = 0 }
        for index in sources.indices where sources[index].ended == 0 {
            (sources[index].begun, sources[index].ended) = Counter.read(sources[index].file)
        }
        let end = now + Self.patience
        while now < end {
            try step()
            read()
            if topics.allSatisfy({ $0.isComplete(sources) }), jobs.open(sources).isEmpty, try areQueuesEmpty() {
                // What comes now comes twice.
                let quiet = now + 3
                while now < quiet {
                    try step()
                    usleep(50_000)
                }
                read()
                return true
            }
            usleep(200_000)
        }
        return false
    }

    private func areQueuesEmpty() throws -> Bool {
        try (0..<Plan.hosts).allSatisfy {
            try ChannelDescription(ChannelName(Names.queue), in: ChannelRoot(FilePath(Hosts.root($0)))).messageCount
                == 0
        }
    }

    // MARK: The end

    private func check(_ isComplete: Bool) {
        if !isComplete { violations.add("not all had arrived \(Int(Self.patience)) s after the last fault") }
        for topic in topics { topic.check(sources, like: topics[0], &violations) }
        jobs.check(sources, &violations)
        calls.check(&violations)
        for member in members where member.role == .bridge {
            // What no bridge had read before it was overwritten.
            let text = (try? String(contentsOfLog: log(member))) ?? ""
            if text.contains("were overwritten") {
                violations.add("\(member.name) tells of messages that were overwritten")
            }
        }
        let killed = { (role: Member.Role) in self.figures.kills[role, default: 0] }
        if jobs.unknown > killed(.worker) {
            violations.add(
                "of \(jobs.unknown) jobs nobody knows whether they are done, with \(killed(.worker)) killed workers")
        }
        if calls.unknown > killed(.client) {
            violations.add("\(calls.unknown) calls did not end, with \(killed(.client)) killed clients")
        }
    }

    private func report() {
        func sent(_ role: Member.Role) -> (begun: Int, ended: Int) {
            let sources = sources.filter { $0.role == role }
            return (sources.reduce(0) { $0 + $1.begun }, sources.reduce(0) { $0 + $1.ended })
        }
        let (published, produced) = (sent(.publisher), sent(.producer))
        let kills = Member.Role.allCases.map { "\(figures.kills[$0, default: 0]) of \($0.rawValue)" }.joined(
            separator: ", ")
        say(
            """
            seed        \(options.seed), \(Int(now)) s
            kills       \(kills)
            stops       \(figures.stops)
            cuts        \(figures.cuts) of \(options.cut) s
            messages    \(published.ended) published, \(published.begun - published.ended) in doubt, \(topics.map(\.total).min() ?? 0) received by each of \(topics.count) subscribers, \(topics.reduce(0) { $0 + $1.missed }) missed
            jobs        \(produced.ended) sent, \(produced.begun - produced.ended) in doubt, \(jobs.doneCount) acknowledged (\(jobs.crossed) on another host), \(jobs.taken) times taken, \(jobs.refused) acknowledgements refused, \(jobs.unknown) with a killed worker
            calls       \(calls.answeredCount) answered (\(calls.crossed) executed on another host), \(calls.failed) failed \(failures), \(calls.unknown) with a killed client, longest \(calls.longest / 1_000_000) ms
            violations  \(violations.count)
            """)
    }

    private var failures: String {
        let names = Dictionary(uniqueKeysWithValues: Participant.codes.map { ($1, "\($0)") })
        return "("
            + calls.failures.sorted { $0.key < $1.key }.map { "\($1) \(names[$0] ?? "otherwise")" }.joined(
                separator: ", ") + ")"
    }

    /// The logs, and what the bridges say of themselves, outlive a run that failed.
    private func keepLogs() throws {
        let kept = "/tmp/ipc-cluster-\(options.seed)"
        for host in 0..<Plan.hosts {
            let script =
                "IPC_ROOT=\(Hosts.root(host)) \"$0\" status --format json >\(path("status-\(host + 1).json")) 2>&1"
            _ = try? ChildProcess("sh", ["-c", script, options.bridge]).wait(until: .after(.seconds(10)))
        }
        // Not the stores, and not what the subscribers received, which is long.
        try Hosts.command(
            "sh", "-c",
            "rm -rf \(kept) && mkdir \(kept) && cd \(Hosts.folder) && for file in *; do case $file in subscriber-?-?) ;; *) [ -f $file ] && cp $file \(kept) ;; esac; done; true"
        )
        say("the logs are in \(kept)")
    }
}

extension String {
    fileprivate init(contentsOfLog path: String) throws {
        let file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
        var bytes = [UInt8](repeating: 0, count: Int(try file.seek(offset: 0, from: .end)))
        let count = try file.closeAfter {
            try bytes.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 0, into: $0) }
        }
        self.init(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
