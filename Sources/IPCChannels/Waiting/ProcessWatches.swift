import Glibc
import IPC

/// The processes of participants in channels that this process waits for, each watched once.
///
/// The kernel reports at once when one ends (pidfd). It does not report an exec (which releases all locks), nor the end of a
/// process of another pid namespace or of one without a pidfd. Those show in the locks, which are tested from time to time:
/// ``checkLiveness()``.
struct ProcessWatches {
    private final class Watch: Sendable {
        let process: ProcessHandle

        init(_ process: consuming ProcessHandle) { self.process = process }

        deinit { Reactor.shared.unwatch(process.descriptor.rawValue) }
    }

    /// A taken slot, whose lock shows whether its owner lives.
    private struct Place {
        let memory: ChannelMemory
        let role: Membership.Role
        let slot: Int
        let process: UInt32

        /// Nil if the slot is free or has another owner by now.
        var isAlive: Bool? {
            guard memory.state(role, slot).acquired != LogLayout.SlotState.free,
                memory.process(role, slot).relaxed == process
            else { return nil }
            // If the test fails, it counts as alive: the next recovery tests again and gets the error.
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
    /// For each participant that waits, the slots of processes in other or unknown pid namespaces.
    private var strangers: [UInt32: [Place]] = [:]

    /// Whether nothing is watched.
    var isEmpty: Bool { watched.isEmpty && strangers.isEmpty }

    /// Watches all participants of a channel.
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
            if memory.namespace(role, slot).relaxed == PIDNamespace.current, PIDNamespace.current != 0 {
                let process = pid_t(bitPattern: process)
                // Those of this process leave in order, or end together with it.
                if process == getpid() { continue }
                watch(process, place, for: membership.token)
            } else {
                strangers[membership.token, default: []].append(place)
            }
            // The process may have died before it was watched, and its pid may be another's by now.
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

    /// Called when a process may have ended. The event may belong to another one whose descriptor had the same number.
    ///
    /// - Returns: The participants for which it was watched.
    mutating func end(_ process: pid_t) -> [UInt32] {
        guard let watch = watched[process]?.watch, !watch.process.isAlive else { return [] }
        return remove(process)
    }

    private mutating func remove(_ process: pid_t) -> [UInt32] {
        let tokens = watched.removeValue(forKey: process)?.places.keys.map { $0 } ?? []
        for token in tokens { processes[token]?.remove(process) }
        return tokens
    }

    /// Tests one lock of each process, and the lock of each slot in another pid namespace.
    ///
    /// - Returns: The participants in whose channels somebody has died.
    mutating func checkLiveness() -> [UInt32] {
        var tokens: [UInt32] = []
        for (process, entry) in watched {
            // An exec releases all locks at once, so testing one is enough. Each is tested once: a lazy `compactMap` evaluates
            // twice and traps if the second result is nil.
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
