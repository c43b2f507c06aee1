public import Glibc
import IPC

/// The identity of a caller: the process that it claims to be, and what the kernel says about that process.
///
/// Callers write to memory that they share with every process that may write to the service's files. So the process of a call
/// is only a claim: a hostile participant can name another process, or overwrite another caller's request. Three things are
/// certain. The named process is a participant of the service at this moment. Its user comes from the kernel. If ``isCertain``
/// is true, only that user or the superuser can have made the call. Users who do not trust each other need separate services,
/// or a socket (``/IPC/StreamSocket``), whose peer the kernel identifies.
public struct CallerIdentity: Hashable, Sendable {
    /// The process that the caller claims to be, in this process's pid namespace.
    public let process: pid_t
    /// The effective user of that process, from the kernel (`/proc/PID/status`). The number is relative to this process's user
    /// namespace: 65534 stands for every user that is not mapped there.
    public let user: uid_t
    /// Its effective group, likewise.
    public let group: gid_t
    /// Whether only ``user`` or the superuser can have made the call: the service's files belong to ``user``, and neither their
    /// group nor others may write to them at this moment. If false, ``user`` is only as trustworthy as all users that may write
    /// to the files.
    public let isCertain: Bool
}

extension Membership {
    /// Asks the kernel who made a call.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/unsupported``; ``/IPC/IPCError/Code/corrupted``.
    func identifyCaller(of work: TakenWork) throws(IPCError) -> CallerIdentity {
        guard !memory.isInherited else { throw memory.isInheritedError }
        guard work.header.writer < UInt32(memory.writerSlots) else {
            throw memory.corrupted("a call has the invalid slot \(work.header.writer)")
        }
        let slot = Int(work.header.writer)
        let number = memory.process(.writer, slot).relaxed
        let process = pid_t(bitPattern: number)
        guard memory.namespace(.writer, slot).relaxed == PIDNamespace.current, PIDNamespace.current != 0 else {
            throw IPCError(
                .unsupported, "identify caller", memory.name.description,
                advice:
                    "process \(process) is in another pid namespace, so its number is not valid here; share the namespace"
            )
        }
        let credentials = Self.credentials(of: process)
        // The pid was not reused before the credentials were read: the kernel drops a slot's lock when its process ends, and
        // the slot is reassigned only after the dead process's calls are withdrawn.
        let isAlive = try memory.isAlive(.writer, slot)
        let isThere = isAlive && memory.state(.writer, slot).acquired == LogLayout.SlotState.taken
        let state = Work.State(word: memory.workState(at: work.position).published)
        guard isThere, memory.process(.writer, slot).relaxed == number, state.aside == work.state.aside else {
            throw IPCError(
                .notFound, "identify caller", memory.name.description,
                advice:
                    "the call has ended: it was answered, its caller has abandoned it, or process \(process) has ended"
            )
        }
        guard let (user, group) = credentials else {
            throw IPCError(
                .unsupported, "identify caller", memory.name.description,
                advice: "/proc does not show process \(process); mount it for this pid namespace, without hidepid")
        }
        return CallerIdentity(
            process: process, user: user, group: group, isCertain: try memory.isWritable(onlyBy: user))
    }

    /// The effective user and group of a process; nil if the kernel does not report them.
    private static func credentials(of process: pid_t) -> (user: uid_t, group: gid_t)? {
        // A /proc that is mounted for another pid namespace has other processes under these numbers.
        guard process > 0, let own = SystemLimits.smallFile("/proc/self/stat", limit: 64),
            own.prefix(while: \.isNumber) == "\(getpid())",
            let status = SystemLimits.smallFile("/proc/\(process)/status")
        else { return nil }
        func effective(_ field: String) -> UInt32? {
            let line = status.split(separator: "\n").first { $0.hasPrefix(field + ":") }
            // Real, effective, saved, and file system id.
            guard let words = line?.split(whereSeparator: \.isWhitespace), words.count > 2 else { return nil }
            return UInt32(words[2])
        }
        guard let user = effective("Uid"), let group = effective("Gid") else { return nil }
        return (user, group)
    }
}

extension ChannelMemory {
    /// Whether only this user and the superuser may write to the files. (With access control lists, the group permissions are
    /// their mask.)
    fileprivate func isWritable(onlyBy user: uid_t) throws(IPCError) -> Bool {
        guard case .root = place, user != Self.unmappedUser else { return false }
        let files = try ChannelOpening(name, in: place)
        for (file, identity) in [("control", identity), ("log", logIdentity), ("locks", nil)] as [(String, [UInt64]?)] {
            // Another channel may have this name by now.
            guard let status = try files.status(of: file), status.owner == user, status.mode.rawValue & 0o022 == 0,
                identity == nil || identity == status.identity
            else { return false }
        }
        return true
    }

    /// The id of every user that is not mapped in this user namespace.
    private static var unmappedUser: uid_t { 65_534 }
}
