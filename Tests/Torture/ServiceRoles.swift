import Glibc
import IPC
import IPCChannels
import TestSupport

struct Ask: BitwiseCopyable, Sendable {
    var member: UInt32
    var isEnd: UInt32
    var number: UInt64
    var retries: UInt64
    var check: UInt64

    init(_ member: Int, _ number: Int, retries: Int, isEnd: Bool = false) {
        self.member = UInt32(member)
        self.isEnd = isEnd ? 1 : 0
        self.number = UInt64(number)
        self.retries = UInt64(retries)
        check = 0
        check = sum
    }

    private var sum: UInt64 { (UInt64(member) << 32 | number) &* 0x9e37_79b9_7f4a_7c15 ^ retries << 1 ^ UInt64(isEnd) }
    var isWhole: Bool { check == sum && member < Plan.mostMembers }
    /// Some are refused.
    var isRefused: Bool { number % 37 == 36 }
}

struct Answer: BitwiseCopyable, Sendable {
    var number: UInt64
    var check: UInt64
    init(_ ask: Ask) {
        number = ask.number
        check = ask.check &* 3
    }
    func fits(_ ask: Ask) -> Bool { number == ask.number && check == ask.check &* 3 }
}

struct Refusal: Error, BitwiseCopyable { var number: UInt64 }

/// Clients and servers. Each call is answered by its own answer; one without retries is done once, or its caller is told.
enum ServiceRoles {
    typealias Asking = ServiceChannel<Ask, Answer, Refusal>
    typealias Pending = PendingCall<Answer, Refusal>
    /// A call's item: a server has begun it.
    private static let begun: UInt32 = 1

    static func write(_ me: Participant) async throws(IPCError) {
        let service = try Asking.open(me.plan.name)
        let waiting = me.waiting
        while me.goesOn {
            guard var client = try me.join({ () throws(IPCError) in try service.makeClient(waiting: waiting) }) else {
                break
            }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, left > 0 {
                let count = me.member.batch
                let first = me.begin()
                me.ledger[me.index, .begun] = UInt64(first + count)
                try await call(&client, (first..<first + count).map { Ask(me.index, $0, retries: $0 % 2 * 100) }, me)
                for _ in 0..<count { me.done() }
                left -= 1
            }
            client.close()
            me.left()
            if me.member.session > 0 { usleep(UInt32(me.random.number(100...2000))) }
        }
    }

    static func close(_ me: Participant) async throws(IPCError) {
        var client = try Asking.open(me.plan.name).makeClient()
        while me.ledger[.phase] == 2 {
            do throws(IPCError) {
                _ = try callBlocking(&client, Ask(me.index, 0, retries: 100, isEnd: true), .after(.milliseconds(50)))
            } catch {
                if error.code != .timedOut { throw error }  // no server is left
            }
        }
    }

    private nonisolated(nonsending) static func call(
        _ client: inout ServiceChannel<Ask, Answer, Refusal>.Client, _ asks: [Ask], _ me: Participant
    ) async throws(IPCError) {
        if asks.count == 1, me.member.way == .block || me.member.way == .spin {
            return try see(asks[0], me) { () throws(IPCError) in try callBlocking(&client, asks[0], me.deadline) }
        }
        var calls: [(Ask, Handed<Pending>)] = []
        for ask in asks {
            calls.append((ask, Handed(try await client.begin(ask, until: me.deadline, retries: Int(ask.retries)))))
        }
        try me.fate.reach()
        switch me.member.way {
        case .task: try await waitInTasks(calls, me)
        case .setTask: try await waitInSetsOfTheirOwn(calls, me)
        case .block, .spin: try waitOnThreads(calls, me)
        case .set, .bell, .poll: for (ask, call) in calls { try await waitReady(ask, call, me) }
        }
    }

    private static func callBlocking(
        _ client: inout ServiceChannel<Ask, Answer, Refusal>.Client, _ ask: Ask, _ deadline: Deadline
    ) throws(IPCError) -> Result<Answer, Refusal> {
        try client.call(ask, until: deadline, retries: Int(ask.retries))
    }

    private static func waitInTasks(_ calls: [(Ask, Handed<Pending>)], _ me: Participant) async throws(IPCError) {
        try await forEach(calls) { (ask, call) async throws(IPCError) in
            guard let call = call.take() else { return }
            let result: Result<Answer, Refusal>
            do throws(IPCError) { result = try await call.wait() } catch { return try seeLoss(ask, error) }
            try see(ask, me) { () throws(IPCError) in result }
        }
    }

    /// Several wait sets of one client at once.
    private static func waitInSetsOfTheirOwn(
        _ calls: [(Ask, Handed<Pending>)], _ me: Participant
    ) async throws(IPCError) {
        try await forEach(calls) { (ask, call) async throws(IPCError) in
            guard let call = call.take() else { return }
            let set = try WaitSet()
            let ready = try await set.wait(until: me.deadline) { (sources) throws(IPCError) in
                sources.add(try call.readiness())
            }
            if ready.isEmpty { throw .timedOut("wait", "a wait set of a call of its own") }
            try finish(ask, call, me)
        }
    }

    private static func forEach(
        _ calls: [(Ask, Handed<Pending>)],
        _ body: @escaping @Sendable (Ask, Handed<Pending>) async throws(IPCError) -> Void
    ) async throws(IPCError) {
        let tasks = calls.map { (ask, call) in
            Task { () -> IPCError? in
                do throws(IPCError) { try await body(ask, call) } catch { return error }
                return nil
            }
        }
        var failure: IPCError?
        for task in tasks { failure = await task.value ?? failure }
        if let failure { throw failure }
    }

    private static func waitOnThreads(_ calls: [(Ask, Handed<Pending>)], _ me: Participant) throws(IPCError) {
        var threads: [PlainThread] = []
        for (ask, call) in calls {
            threads.append(
                try PlainThread { () throws(IPCError) in
                    guard let call = call.take() else { return }
                    try finish(ask, call, me)
                })
        }
        var failure: IPCError?
        for thread in threads { failure = thread.join() ?? failure }
        if let failure { throw failure }
    }

    private nonisolated(nonsending) static func waitReady(
        _ ask: Ask, _ call: Handed<Pending>, _ me: Participant
    ) async throws(IPCError) {
        guard let call = call.take() else { return }
        let deadline = me.deadline
        while !call.isFinished {
            try await me.waits.wait(until: deadline) { () throws(IPCError) in try call.readiness() }
        }
        try finish(ask, call, me)
    }

    private static func finish(_ ask: Ask, _ call: consuming Pending, _ me: Participant) throws(IPCError) {
        let result: Result<Answer, Refusal>
        do throws(IPCError) { result = try call.wait() } catch { return try seeLoss(ask, error) }
        try see(ask, me) { () throws(IPCError) in result }
    }

    private static func seeLoss(_ ask: Ask, _ error: IPCError) throws(IPCError) {
        // Its server died in it: its caller is told, unless another server may do it again.
        guard error.code == .brokenPipe, ask.retries == 0 else { throw error }
    }

    private static func see(
        _ ask: Ask, _ me: Participant, _ outcome: () throws(IPCError) -> Result<Answer, Refusal>
    ) throws(IPCError) {
        let result: Result<Answer, Refusal>
        do throws(IPCError) { result = try outcome() } catch { return try seeLoss(ask, error) }
        switch result {
        case .success(let answer) where answer.fits(ask) && !ask.isRefused: break
        case .failure(let refusal) where refusal.number == ask.number && ask.isRefused: break
        default: me.violation("call \(ask.number) got \(result)")
        }
        if me.ledger.item(me.index, Int(ask.number)) & begun == 0 {
            me.violation("call \(ask.number) has an outcome, and no server had it")
        }
    }

    static func read(_ me: Participant) async throws(IPCError) {
        let service = try Asking.open(me.plan.name)
        let waiting = me.waiting
        var isOver = false
        while me.goesOn, !isOver {
            guard var server = try me.join({ () throws(IPCError) in try service.makeServer(waiting: waiting) }) else {
                break
            }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, !isOver, left > 0 {
                isOver = try await serve(&server, me)
                me.checked(isEnd: isOver)
                left -= 1
            }
            server.close()
            me.left()
        }
    }

    private nonisolated(nonsending) static func serve(
        _ server: inout ServiceChannel<Ask, Answer, Refusal>.Server, _ me: Participant
    ) async throws(IPCError) -> Bool {
        if me.member.batch == 1, me.member.way == .block, me.random.chance(50) { return try serveLent(&server, me) }
        let first = try await next(&server, me)
        if me.member.batch == 1 { return try answer(first, me) }
        var calls = [Handed(first)]
        while calls.count < me.member.batch, let call = try server.tryNext() { calls.append(Handed(call)) }
        let over = Flag()
        var threads: [PlainThread] = []
        for call in calls {
            threads.append(try PlainThread { () throws(IPCError) in if try answer(call.take(), me) { over.raise() } })
        }
        for thread in threads { if let error = thread.join() { throw error } }
        return over.isRaised
    }

    private static func serveLent(
        _ server: inout ServiceChannel<Ask, Answer, Refusal>.Server, _ me: Participant
    ) throws(IPCError) -> Bool {
        var isOver = false
        try server.serveNext(until: me.deadline) { (ask) throws(Refusal) in
            look(ask, me)
            isOver = ask.isEnd != 0
            if ask.isRefused { throw Refusal(number: ask.number) }
            return Answer(ask)
        }
        try me.fate.reach()
        return isOver
    }

    private nonisolated(nonsending) static func next(
        _ server: inout ServiceChannel<Ask, Answer, Refusal>.Server, _ me: Participant
    ) async throws(IPCError) -> ServiceChannel<Ask, Answer, Refusal>.Call {
        let deadline = me.deadline
        switch me.member.way {
        case .block, .spin: return try nextBlocking(&server, deadline)
        case .task: return try await server.next(until: deadline)
        default:
            while true {
                if let call = try server.tryNext() { return call }
                try await me.waits.wait(until: deadline) { () throws(IPCError) in server.readiness() }
            }
        }
    }

    private static func nextBlocking(
        _ server: inout ServiceChannel<Ask, Answer, Refusal>.Server, _ deadline: Deadline
    ) throws(IPCError) -> ServiceChannel<Ask, Answer, Refusal>.Call {
        try server.next(until: deadline)
    }

    private static func answer(
        _ call: consuming ServiceChannel<Ask, Answer, Refusal>.Call?, _ me: Participant
    ) throws(IPCError) -> Bool {
        guard let call else { return false }
        let ask = try call.request
        look(ask, me)
        try me.fate.reach()
        if ask.isRefused { try call.fail(Refusal(number: ask.number)) } else { try call.reply(Answer(ask)) }
        return ask.isEnd != 0
    }

    private static func look(_ ask: Ask, _ me: Participant) {
        guard ask.isWhole else { return me.violation("torn call \(ask)") }
        guard ask.isEnd == 0 else { return }
        let before = me.ledger.setBits(begun, of: Int(ask.member), Int(ask.number))
        if before & begun != 0, ask.retries == 0 {
            me.violation("call \(ask.number) of client \(ask.member), which may not be done twice, came again")
        }
    }
}
