public import Glibc
import IPC

/// Who a caller is: the process that it says it is, and what the kernel says of that process.
///
/// Callers write to memory that they share with all who may write to the service's files. So which process made a call is the call's own
/// word, and nobody can prove it: a hostile participant can name another process as its own, or write over another's request. What
/// holds is that the process that is named takes part in the service at this moment, that its user is the kernel's word, and, where
/// ``isCertain``, that nobody but that user and the superuser can have made the call. Users who do not trust each other need services
/// of their own, or a socket (``IPC/StreamSocket``), whose peer the kernel names.
public struct CallerIdentity: Hashable, Sendable {
    /// The process that calls, as it says itself; by this process's pid namespace.
    public let process: pid_t
    /// The effective user of that process, by the kernel (`/proc/PID/status`). The number is that of this process's user namespace: 65534
    /// stands for all who have none there.
    public let user: uid_t
    /// Its effective group, likewise.
    public let group: gid_t
    /// Whether no other user can have made the call, but the superuser: the service's files belong to ``user``, and at this moment neither
    /// their group nor others may write to them. Else ``user`` is as good as the word of those who may write to them.
    public let isCertain: Bool
}

extension Membership {
    /// Asks the kernel who made a call.
    ///
    /// - Throws: ``IPC/IPCError/Code/notFound``; ``IPC/IPCError/Code/unsupported``; ``IPC/IPCError/Code/corrupted``.
    func identifyCaller(of work: TakenWork) throws(IPCError) -> CallerIdentity {
        guard !memory.isInherited else { throw memory.isInheritedError }
        guard work.header.writer < UInt32(memory.writerSlots) else {
            throw memory.corrupted("a call is of slot \(work.header.writer)")
        }
        let slot = Int(work.header.writer)
        let number = memory.process(.writer, slot).relaxed
        let process = pid_t(bitPattern: number)
        guard memory.namespace(.writer, slot).relaxed == ProcessWatches.namespace, ProcessWatches.namespace != 0 else {
            throw IPCError(
                .unsupported, "identify caller", memory.name.description,
                advice:
                    "process \(process) is in another pid namespace, where its number is another's; share the namespace"
            )
        }
        let credentials = Self.credentials(of: process)
        // Its number was not another's by then: the kernel drops the lock of a slot with the process that has it, and nobody has the
        // slot before the dead one's calls are withdrawn.
        let isAlive = try memory.isAlive(.writer, slot)
        let isThere = isAlive && memory.state(.writer, slot).acquired == LogLayout.SlotState.taken
        let state = Work.State(word: memory.workState(at: work.position).published)
        guard isThere, memory.process(.writer, slot).relaxed == number, state.aside == work.state.aside else {
            throw IPCError(
                .notFound, "identify caller", memory.name.description,
                advice: "the call is over: it was answered, its caller has given it up, or process \(process) has ended"
            )
        }
        guard let (user, group) = credentials else {
            throw IPCError(
                .unsupported, "identify caller", memory.name.description,
                advice: "/proc does not tell of process \(process); mount it for this pid namespace, without hidepid")
        }
        return CallerIdentity(
            process: process, user: user, group: group, isCertain: try memory.isWritable(onlyBy: user))
    }

    /// The effective user and group of a process; nil where the kernel does not tell.
    private static func credentials(of process: pid_t) -> (user: uid_t, group: gid_t)? {
        // One that is mounted for another pid namespace has other processes under these numbers.
        guard process > 0, let own = SystemLimits.smallFile("/proc/self/stat", limit: 64),
            own.prefix(while: \.isNumber) == "\(getpid())",
            let status = SystemLimits.smallFile("/proc/\(process)/status")
        else { return nil }
        func effective(_ field: String) -> UInt32? {
            let line = status.split(separator: "\n").first { $0.hasPrefix(field + ":") }
            // Real, effective, saved, and of the file system.
            guard let words = line?.split(whereSeparator: \.isWhitespace), words.count > 2 else { return nil }
            return UInt32(words[2])
        }
        guard let user = effective("Uid"), let group = effective("Gid") else { return nil }
        return (user, group)
    }
}

extension ChannelMemory {
    /// Whether nobody but this user, and the superuser, may write to the files. (Where there are access control lists, the group's
    /// permissions are their mask.)
    fileprivate func isWritable(onlyBy user: uid_t) throws(IPCError) -> Bool {
        guard case .root = place, user != Self.unmappedUser else { return false }
        let files = try ChannelOpening(name, in: place)
        for (file, identity) in [("control", identity), ("log", logIdentity), ("locks", nil)] as [(String, [UInt64]?)] {
            // Another channel may have the name by now.
            guard let status = try files.status(of: file), status.owner == user, status.mode.rawValue & 0o022 == 0,
                identity == nil || identity == status.identity
            else { return false }
        }
        return true
    }

    /// By which all are told of that have no number in this user namespace.
    private static var unmappedUser: uid_t { 65_534 }
}
