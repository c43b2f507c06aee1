import TestSupport

/// What happens to whom, and when: all of it follows from the seed.
struct Plan {
    enum Action: Hashable {
        /// SIGKILL; it is started again after the event's length.
        case kill(Member.Role, host: Int, index: Int)
        /// SIGSTOP, and SIGCONT after the event's length.
        case stop(Member.Role, host: Int, index: Int)
        /// All of one kind on a host are killed, and are away for the event's length.
        case leave(Member.Role, host: Int)
        /// The link of a host is down for the event's length.
        case cut(host: Int)
    }

    struct Event {
        /// Seconds from the start.
        var time: Double
        var action: Action
        /// Seconds.
        var length: Double
    }

    static let hosts = 3
    let events: [Event]

    init(_ options: Options) {
        var random = Seeded(options.seed)
        func seconds(_ range: ClosedRange<Int>) -> Double { Double(random.number(range)) / 1000 }
        // The sending may take longer than asked for, because of what happens here.
        let end = options.seconds * 2
        var events: [Event] = []
        var time = 1.0
        while time < end {
            time += seconds(200...1500)
            let host = random.number(0...Self.hosts - 1)
            func add(_ action: Action, for range: ClosedRange<Int>) {
                events.append(Event(time: time, action: action, length: seconds(range)))
            }
            func one(of roles: [Member.Role]) -> (Member.Role, Int) {
                let role = random.pick(roles)
                return (role, random.number(0...role.count - 1))
            }
            switch random.number(0...99) {
            case ..<20:
                let bridge = Action.kill(.bridge, host: host, index: 0)
                add(bridge, for: 0...1500)
                guard random.chance(40) else { continue }
                // Its successor too, while it finds out how things are.
                let again = time + events.last!.length + seconds(0...400)
                events.append(Event(time: again, action: bridge, length: seconds(0...500)))
            case ..<28: add(.stop(.bridge, host: host, index: 0), for: 100...3000)
            case ..<37:
                add(.kill(.nats, host: host, index: 0), for: 0...2000)
                guard random.chance(40) else { continue }
                // A bridge, while it does not know what is stored.
                let bridge = Action.kill(.bridge, host: random.number(0...Self.hosts - 1), index: 0)
                events.append(Event(time: time + seconds(0...500), action: bridge, length: seconds(0...1500)))
            case ..<43: add(.stop(.nats, host: host, index: 0), for: 100...3000)
            case ..<70:
                let (role, index) = one(of: Member.Role.programs)
                add(.kill(role, host: host, index: index), for: 0...1000)
            case ..<80:
                // A caller is not stopped: it could not say when its call ended.
                let (role, index) = one(of: Member.Role.programs.filter { $0 != .client })
                add(.stop(role, host: host, index: index), for: 100...2000)
            default: add(.leave(random.pick([.worker, .server]), host: host), for: 1000...6000)
            }
        }
        func cut(at time: Double) {
            let host = random.number(0...Self.hosts - 1)
            events.append(Event(time: time, action: .cut(host: host), length: options.cut))
            if random.chance(80) {
                // What its workers did not do is on its way.
                events.append(
                    Event(time: time - 1, action: .leave(.worker, host: host), length: seconds(1000...6000)))
            }
            if random.chance(80) {
                let within = options.cut * Double(random.number(0...100)) / 100
                let bridge = Action.kill(.bridge, host: host, index: 0)
                events.append(Event(time: time + within, action: bridge, length: seconds(0...1500)))
            }
        }
        if let cuts = options.cuts {
            for index in 0..<cuts {
                let middle = options.seconds * (Double(index) + 0.5) / Double(cuts)
                cut(at: max(2, middle - options.cut + seconds(0...1000)))
            }
        } else {
            time = 5 + seconds(0...10_000)
            while time < end {
                cut(at: time)
                time += options.cut + seconds(15_000...25_000)
            }
        }
        // So that calls leave a host, and jobs too, in a short run as well.
        for share in [0.15, 0.5, 0.85] {
            for role in [Member.Role.server, .worker] {
                let leave = Action.leave(role, host: random.number(0...Self.hosts - 1))
                events.append(Event(time: options.seconds * share, action: leave, length: seconds(2000...4000)))
            }
        }
        self.events = events.sorted { $0.time < $1.time }
    }
}
