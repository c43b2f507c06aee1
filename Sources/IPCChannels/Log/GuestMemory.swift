import CIPCShims
import Glibc
import IPC
import Synchronization
import SystemPackage

/// The only memory of a channel that guests can write to: their slots, and the wait queues of all participants.
///
/// It is System V shared memory (`shmget`). A process that may write to a file can shorten it, and processes that have mapped it
/// then die of SIGBUS. A segment keeps its size, and only its owner can change its permissions. It is marked for removal as soon as
/// it is made, so it ends with the last process that has it attached, however that process ends.
@safe
final class GuestMemory: @unchecked Sendable {
    // `@unchecked`: all of it is accessed by atomics.
    private let base: UnsafeMutableRawPointer
    /// The word in `control` that names it.
    let word: UInt64

    /// Attaches the segment that `control` names.
    ///
    /// - Parameter made: When its owner was set.
    /// - Returns: Nil if there is none, if it is of another IPC namespace, or if this user may not attach it.
    init?(_ word: UInt64, made: UInt64, slots: Int) {
        let number = UInt32(truncatingIfNeeded: word)
        guard number != 0, word >> 32 == UInt64(Self.namespace), number <= UInt32(CInt.max) else { return nil }
        let segment = CInt(number - 1)
        var time: Int64 = 0
        guard let base = unsafe Self.attach(segment, slots, &time) else { return nil }
        unsafe self.base = base
        self.word = word
        // Another segment may have the identifier by now.
        guard UInt64(bitPattern: time) == made else { return nil }
    }

    /// Makes a segment for this user alone.
    init(slots: Int, _ name: ChannelName) throws(IPCError) {
        let size = LogLayout.Guests.byteCount(slots)
        func failed(_ call: String) -> IPCError {
            let errno = Errno(rawValue: errno)
            return IPCError(
                call, name.description, errno,
                advice: errno == .noSpace
                    ? "the limit on System V segments is reached; remove some (ipcs -m, ipcrm), or raise kernel.shmmni"
                    : "subscribers that may write only their cursors need System V shared memory, but a sandbox or a limit refuses it; create the channel without subscriberPermissions"
            )
        }
        let segment = ipc_segment_make(size)
        guard segment >= 0 else { throw failed("shmget") }
        // Once it is marked for removal, it ends with this process.
        var time: Int64 = 0
        let attached = unsafe Self.attach(segment, slots, &time)
        let failure = failed("shmat")
        let isMarked = ipc_segment_remove(segment) == 0
        let markFailure = failed("shmctl IPC_RMID")
        guard let base = unsafe attached else { throw failure }
        guard isMarked else {
            unsafe Self.detach(base)
            throw markFailure
        }
        unsafe self.base = base
        word = UInt64(Self.namespace) << 32 | UInt64(segment + 1)
        for slot in 0..<slots {
            self.word(LogLayout.Guests.slot(slot) + LogLayout.ReaderSlot.cursor).relaxed = .max
        }
    }

    /// Lets other users attach it.
    ///
    /// - Returns: When the owner was set.
    func share(
        _ owner: uid_t, _ group: gid_t, _ permissions: FilePermissions, _ name: ChannelName
    ) throws(IPCError) -> UInt64 {
        let segment = CInt(UInt32(truncatingIfNeeded: word) - 1)
        var time: Int64 = 0
        _ = try systemCall { unsafe ipc_segment_share(segment, owner, group, permissions.rawValue & 0o666, &time) }
            .orThrow("shmctl", name.description)
        return UInt64(bitPattern: time)
    }

    private static func attach(
        _ segment: CInt, _ slots: Int, _ time: inout Int64
    ) -> UnsafeMutableRawPointer? {
        let size = LogLayout.Guests.byteCount(slots)
        // Forked children do not get it.
        ipc_hold_forks()
        defer { ipc_release_forks() }
        guard let base = unsafe ipc_segment_attach(segment, size, &time) else { return nil }
        guard unsafe ipc_withhold_memory(base, size) == 0 else {
            unsafe ipc_segment_detach(base)
            return nil
        }
        return unsafe base
    }

    deinit { unsafe Self.detach(base) }

    private static func detach(_ base: UnsafeMutableRawPointer) {
        unsafe ipc_release_memory(base)
        unsafe ipc_segment_detach(base)
    }

    /// The IPC namespace of this process, in which a segment's identifier is valid; 0 if it is unknown.
    private static let namespace: UInt32 = {
        guard let status = try? FileStatus(at: "/proc/self/ns/ipc") else { return 0 }
        return UInt32(truncatingIfNeeded: status.identity[1])
    }()

    func word(_ offset: Int) -> SharedUInt64 { unsafe SharedUInt64(base + offset) }

    func half(_ offset: Int) -> SharedUInt32 {
        unsafe SharedUInt32(UnsafeRawPointer(base + offset).assumingMemoryBound(to: Atomic<UInt32>.self))
    }

    var usedSlots: SharedUInt32 { half(LogLayout.Guests.usedSlots) }
    var joins: SharedUInt32 { half(LogLayout.Guests.joins) }
}
