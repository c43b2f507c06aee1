import Glibc
import IPC

/// The processes that take part in channels for which somebody here waits, each watched once.
struct ProcessWatches {
    private final class Watch: Sendable {
        let process: ProcessHandle

        init(_ process: consuming ProcessHandle) { self.process = process }

        deinit { Reactor.shared.unwatch(process.descriptor.rawValue) }
    }

    private var watches: [pid_t: (watch: Watch, tokens: Set<UInt32>)] = [:]
    private var watched: [UInt32: Set<pid_t>] = [:]

    /// The pid namespace of this process; 0 if it is not told.
    static let namespace: UInt32 = {
        guard let status = try? FileStatus(at: "/proc/self/ns/pid") else { return 0 }
        return UInt32(truncatingIfNeeded: status.identity[1])
    }()

    /// Watches all who take part in a channel.
    mutating func watch(_ membership: Membership) throws(IPCError) -> ChannelWaits.Outlook {
        let memory = membership.memory
        var outlook = ChannelWaits.Outlook()
        for (role, count) in [(Membership.Role.reader, memory.usedReaders), (.writer, memory.usedWriters)] {
            for slot in 0..<count where memory.state(role, slot).relaxed != 0 {
                let process = pid_t(bitPattern: memory.process(role, slot).relaxed)
                guard memory.namespace(role, slot).relaxed == Self.namespace, Self.namespace != 0 else {
                    outlook.hasStrangers = true
                    continue
                }
                guard process != getpid(), watched[membership.token]?.contains(process) != true else { continue }
                do throws(IPCError) {
                    try watch(process, for: membership.token)
                    // It may have died before, and its number be another's by now.
                    if try !memory.isAlive(role, slot) { outlook.hasDeath = true }
                } catch {
                    // Without a free descriptor, say, it is as if nobody told us of its death.
                    if error.code == .notFound { outlook.hasDeath = true } else { outlook.hasStrangers = true }
                }
            }
        }
        return outlook
    }

    private mutating func watch(_ process: pid_t, for token: UInt32) throws(IPCError) {
        if watches[process] == nil {
            let watch = Watch(try ProcessHandle(process))
            try Reactor.shared.watch(watch.process.descriptor.rawValue) { ChannelWaits.shared.seeEnd(of: process) }
            watches[process] = (watch, [])
        }
        watches[process]?.tokens.insert(token)
        watched[token, default: []].insert(process)
    }

    /// A process may have ended: the news may be of another one, whose descriptor had the same number.
    ///
    /// - Returns: Those for whom it was watched.
    mutating func end(_ process: pid_t) -> Set<UInt32> {
        guard let (watch, tokens) = watches[process], !watch.process.isAlive else { return [] }
        watches[process] = nil
        for token in tokens { watched[token]?.remove(process) }
        return tokens
    }

    mutating func forget(_ token: UInt32) {
        for process in watched.removeValue(forKey: token) ?? [] {
            watches[process]?.tokens.remove(token)
            if watches[process]?.tokens.isEmpty == true { watches[process] = nil }
        }
    }
}
