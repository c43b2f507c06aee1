import Glibc
import IPC

/// Finds out what a participant does, and sees how it ends.
enum Roles {
    static func run(_ me: Participant) async {
        waitForGo(me)
        do throws(IPCError) {
            try await work(me)
        } catch {
            if me.fate.isForkedChild { _exit(0) }
            me.violation("\(error)")
            _exit(1)
        }
        me.finish()
    }

    private static func work(_ me: Participant) async throws(IPCError) {
        guard me.member.isReader else { return try await write(me) }
        switch me.plan.shape.pattern {
        case .topic: try await TopicRoles.read(me)
        case .queue: try await QueueRoles.read(me)
        case .service: try await ServiceRoles.read(me)
        case .latest: try await LatestRoles.read(me)
        case .event: try await EventRoles.read(me)
        }
        if me.member.isSurvivor { me.ledger.add(.endedReaders) }
    }

    private static func write(_ me: Participant) async throws(IPCError) {
        switch me.plan.shape.pattern {
        case .topic: try await TopicRoles.write(me)
        case .queue: try await QueueRoles.write(me)
        case .service: try await ServiceRoles.write(me)
        case .latest: try await LatestRoles.write(me)
        case .event: try await EventRoles.write(me)
        }
        guard me.index == me.plan.closer else { return }
        me.rest()
        me.ledger[me.index, .go] = 1
        while me.ledger[.phase] < 2 { usleep(200) }
        switch me.plan.shape.pattern {
        case .topic: try await TopicRoles.close(me)
        case .queue: try await QueueRoles.close(me)
        case .service: try await ServiceRoles.close(me)
        case .latest: try LatestRoles.close(me)
        case .event: try EventRoles.close(me)
        }
    }

    /// The two of a second death begin when they are told.
    private static func waitForGo(_ me: Participant) {
        guard me.plan.waves.contains(where: { $0.isSecondDeath && $0.members.contains(me.index) }) else { return }
        while me.ledger[me.index, .go] == 0 { usleep(100) }
    }
}
