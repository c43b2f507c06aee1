import Glibc
import IPC

/// The processes that take part in channels for which somebody here waits, each watched once.
///
/// The kernel tells at once when one ends (pidfd). What it does not tell (an exec, which lets go of all locks; a process of
/// another pid namespace; one for which there was no pidfd) shows by the locks, which are asked for now and then:
/// ``lookAround()``.
struct ProcessWatches {
    private final class Watch: Sendable {
        let process: ProcessHandle

        init(_ process: consuming ProcessHandle) { self.process = process }

        deinit { Reactor.shared.unwatch(process.descriptor.rawValue) }
    }

    /// A slot that somebody has, by whose lock it shows whether it lives.
    private struct Place {
        let memory: ChannelMemory
        let role: Membership.Role
        let slot: Int
        let process: UInt32

        /// Nil if somebody else has the slot by now, or nobody.
        var isAlive: Bool? {
            guard memory.state(role, slot).acquired != LogLayout.SlotState.free,
                memory.process(role, slot).relaxed == process
            else { return nil }
            // Without an answer it counts as alive: whoever recovers asks again, and gets the error.
            return (try? memory.isAlive(role, slot)) ?? true
        }
    }

    private struct Watched {
        /// Nil where there is no pidfd.
        var watch: Watch?
        /// For each participant that waits, the slots of the process in its channel.
        var places: [UInt32: [Place]] = [:]
    }

    private var watched: [pid_t: Watched] = [:]
    private var processes: [UInt32: Set<pid_t>] = [:]
    /// For each participant, those of other pid namespaces, and of unknown ones.
    private var strangers: [UInt32: [Place]] = [:]

    /// Whether there is nobody to look after.
    var isEmpty: Bool { watched.isEmpty && strangers.isEmpty }

    /// The pid namespace of this process; 0 if it is not told.
    static let namespace: UInt32 = {
        guard let status = try? FileStatus(at: "/proc/self/ns/pid") else { return 0 }
        return UInt32(truncatingIfNeeded: status.identity[1])
    }()

    /// Watches all who take part in a channel.
    ///
    /// - Returns: Whether one of them is dead already.
    mutating func watch(_ membership: Membership) throws(IPCError) -> Bool {
        let memory = membership.memory
        var hasDeath = false
        forget(membership.token)
        for (role, slot) in memory.usedSlots where memory.state(role, slot).acquired != LogLayout.SlotState.free {
            if memory.ownSlot.map({ $0 == (role, slot) }) ?? false { continue }
            let process = memory.process(role, slot).relaxed
            let place = Place(memory: memory, role: role, slot: slot, process: process)
            if memory.namespace(role, slot).relaxed == Self.namespace, Self.namespace != 0 {
                let process = pid_t(bitPattern: process)
                // Those of this process end in order, or together with us.
                if process == getpid() { continue }
                watch(process, place, for: membership.token)
            } else {
                strangers[membership.token, default: []].append(place)
            }
            // It may have died before it was watched, and its number be another's by now.
            if try !memory.isAlive(role, slot) { hasDeath = true }
        }
        return hasDeath
    }

    private mutating func watch(_ process: pid_t, _ place: Place, for token: UInt32) {
        if watched[process] == nil { watched[process] = Watched(watch: Self.handle(of: process)) }
        watched[process]?.places[token, default: []].append(place)
        processes[token, default: []].insert(process)
    }

    /// Nil where the system gives none: no descriptor is free, or a sandbox refuses it.
    private static func handle(of process: pid_t) -> Watch? {
        guard process > 0, let handle = try? ProcessHandle(process) else { return nil }
        let watch = Watch(handle)
        guard
            (try? Reactor.shared.watch(
                watch.process.descriptor.rawValue, { ChannelWaits.shared.seeEnd(of: process) })) != nil
        else { return nil }
        return watch
    }

    /// A process may have ended: the news may be of another one, whose descriptor had the same number.
    ///
    /// - Returns: Those for whom it was watched.
    mutating func end(_ process: pid_t) -> [UInt32] {
        guard let watch = watched[process]?.watch, !watch.process.isAlive else { return [] }
        return remove(process)
    }

    private mutating func remove(_ process: pid_t) -> [UInt32] {
        let tokens = watched.removeValue(forKey: process)?.places.keys.map { $0 } ?? []
        for token in tokens { processes[token]?.remove(process) }
        return tokens
    }

    /// Asks one lock of each process, and the lock of each stranger.
    ///
    /// - Returns: Those in whose channels somebody does not live any more.
    mutating func lookAround() -> [UInt32] {
        var tokens: [UInt32] = []
        for (process, entry) in watched {
            // An exec lets go of all locks at once, so any one tells. Each is asked once: a lazy `compactMap` asks twice, and traps if the
            // second answer is nil.
            places: for place in entry.places.values.joined() {
                guard let isAlive = place.isAlive else { continue }
                if !isAlive { tokens += remove(process) }
                break places
            }
        }
        for (token, places) in strangers {
            let left = places.filter { $0.isAlive != false }
            guard left.count < places.count else { continue }
            strangers[token] = left
            tokens.append(token)
        }
        return tokens
    }

    mutating func forget(_ token: UInt32) {
        strangers[token] = nil
        for process in processes.removeValue(forKey: token) ?? [] {
            watched[process]?.places[token] = nil
            if watched[process]?.places.isEmpty == true { watched[process] = nil }
        }
    }
}
