import CIPCShims
import Glibc
import IPC
import SystemPackage

/// A FIFO in the root, by which participants of other processes wake those of this one that sleep without a thread.
///
/// Who sleeps leaves a word in its slot: the bell's number, and a token that says to the bell's owner who is meant. Who
/// wakes writes the word into the FIFO. One bell serves any number of participants. The next one that makes a bell in the root
/// removes those of the dead, which nobody has open for reading.
final class Bell: Sendable {
    private static let prefix = ".bell-"

    let number: UInt32
    private let root: ChannelRoot
    /// Withheld from children of a fork: they would keep it open when its owner has died.
    private let end: WithheldDescriptor
    private let forks = ipc_forks()
    /// What reads it, unless its user does.
    let reactor: Reactor?
    /// From so many bytes on, it may have been full when it was rung.
    private let capacity: Int

    init(in root: ChannelRoot, _ reactor: Reactor?) throws(IPCError) {
        self.root = root
        self.reactor = reactor
        var number: UInt32 = 0
        end = try root.withLock { () throws(IPCError) -> WithheldDescriptor in
            try Self.removeDead(root)
            while true {
                number = UInt32.random(in: 1 ... .max)
                let path = Self.path(number, root)
                switch systemCall({ unsafe mkfifo(path, 0o600) }) {
                case .success: break
                case .failure(.fileExists): continue
                case .failure(let errno):
                    throw IPCError("mkfifo", path, errno, advice: "asynchronous waits for channels need a FIFO there")
                }
                // Open for writing too, so that it is never at its end.
                let end = try WithheldDescriptor(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW)
                let raw = end.rawValue
                // All who can see the root may ring, and nobody else may listen.
                _ = try systemCall { fchmod(raw, 0o622) }.orThrow("fchmod", path)
                return end
            }
        }
        self.number = number
        capacity = Int(ipc_fcntl_int(end.rawValue, IPC_F_GETPIPE_SZ, 0))
        if let reactor {
            try reactor.watch(end.rawValue) { [weak self] in
                guard let self else { return }
                ChannelWaits.shared.resume(takeRings())
            }
        }
    }

    deinit {
        // In a child of fork it is the parent's still.
        guard !isInherited else { return }
        reactor?.unwatch(end.rawValue)
        unsafe unlink(Self.path(number, root))
    }

    /// Whether this process was forked from the one that made it: then it has no part in it.
    var isInherited: Bool { forks != ipc_forks() }

    private static func path(_ number: UInt32, _ root: ChannelRoot) -> String {
        let digits = String(number, radix: 16)
        return root.path + "/" + prefix + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Under the root's lock.
    static func removeDead(_ root: ChannelRoot) throws(IPCError) {
        for name in try root.entries() where name.hasPrefix(prefix) {
            let path = root.path + "/" + name
            let raw = unsafe ipc_open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0)
            if raw >= 0 { Glibc.close(raw) } else if errno == ENXIO { unsafe unlink(path) }
        }
    }

    var descriptor: FileDescriptor { end.descriptor }

    /// The word that a participant leaves in its slot.
    func word(_ token: UInt32) -> UInt64 { UInt64(number) << 32 | UInt64(token) }

    /// Rings the bell that a word names, if its owner lives.
    static func ring(_ word: UInt64, in root: ChannelRoot) {
        let path = path(UInt32(truncatingIfNeeded: word >> 32), root)
        guard
            let raw = try? retryingInterrupts({
                unsafe ipc_open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0)
            })
            .get()
        else { return }
        let end = OwnedDescriptor(adopting: raw)
        // Full, it has been rung so often that its owner will look at everything.
        _ = unsafe withUnsafeBytes(of: word) { bytes in
            BrokenPipeSilence().write(unsafe bytes.bytes, to: end.rawValue, flags: 0)
        }
    }

    /// Rings this one from within its process.
    func ring(_ token: UInt32) { Self.ring(word(token), in: root) }

    /// The tokens that were rung for; nil if there may have been more.
    func takeRings() -> [UInt32]? {
        unsafe withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 8192) { words in
            let count = unsafe read(end.rawValue, words.baseAddress, 65_536)
            guard count < min(capacity, 65_536) else { return nil }
            let rung = unsafe words[..<(max(count, 0) / 8)]
            return unsafe rung.map { UInt32(truncatingIfNeeded: $0) }
        }
    }
}

extension ChannelMemory {
    /// The root in which bells for this channel are.
    var bellRoot: ChannelRoot { if case .root(let root) = place { root } else { .current } }

    func bell(_ role: Membership.Role, _ slot: Int) -> SharedWord {
        role == .reader ? reader(slot, LogLayout.ReaderSlot.bell) : writer(slot, LogLayout.WriterSlot.bell)
    }

    /// Rings for the participant in a slot, if it has left its word. The word stays: its owner takes it away when it is awake.
    func ring(_ role: Membership.Role, _ slot: Int) {
        let word = bell(role, slot).ordered
        if word != 0 { Bell.ring(word, in: bellRoot) }
    }
}
