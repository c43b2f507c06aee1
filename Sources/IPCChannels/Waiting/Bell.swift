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
    let folder: RootFolder
    /// Withheld from children of a fork: they would keep it open when its owner has died.
    private let end: WithheldDescriptor
    private let forks = ipc_forks()
    /// What reads it, unless its user does.
    let reactor: Reactor?
    /// From so many bytes on, it may have been full when it was rung.
    private let capacity: Int

    /// In the root of a channel. Under its lock, which `folder` gives.
    convenience init(in folder: RootFolder, _ reactor: Reactor?) throws(IPCError) {
        guard let lock = try folder.lock() else {
            throw IPCError(
                .removed, "wait", folder.path,
                advice: "the folder was removed while it was in use (by a program, or systemd's RemoveIPC); join again")
        }
        try self.init(lockedIn: folder, reactor)
        _ = consume lock
    }

    /// - Parameter folder: Whose lock is held.
    init(lockedIn folder: RootFolder, _ reactor: Reactor?) throws(IPCError) {
        self.folder = folder
        self.reactor = reactor
        let number = try Self.make(in: folder)
        self.number = number
        do throws(IPCError) {
            end = try Self.open(number, in: folder)
        } catch {
            unsafe unlinkat(folder.descriptor, Self.name(number), 0)
            throw error
        }
        capacity = Int(ipc_fcntl_int(end.rawValue, IPC_F_GETPIPE_SZ, 0))
        Self.own.withLock { bells in
            bells = bells.filter { $0.value.bell != nil }
            bells[number] = Own(bell: self)
        }
        if let reactor {
            try reactor.watch(end.rawValue) { [weak self] in
                guard let self else { return }
                ChannelWaits.shared.seeRings(takeRings())
            }
        }
    }

    deinit {
        // In a child of fork it is the parent's still.
        guard !isInherited else { return }
        reactor?.unwatch(end.rawValue)
        unsafe unlinkat(folder.descriptor, Self.name(number), 0)
    }

    /// Makes a FIFO. Under the lock.
    ///
    /// - Returns: Its number.
    private static func make(in folder: RootFolder) throws(IPCError) -> UInt32 {
        try removeDead(folder)
        while true {
            let number = UInt32.random(in: 1 ... .max)
            let path = folder.path + "/" + name(number)
            switch systemCall({ unsafe mkfifoat(folder.descriptor, name(number), 0o600) }) {
            case .success: return number
            case .failure(.fileExists): continue
            case .failure(let errno):
                throw IPCError("mkfifo", path, errno, advice: "asynchronous waits for channels need a FIFO there")
            }
        }
    }

    private static func open(_ number: UInt32, in folder: RootFolder) throws(IPCError) -> WithheldDescriptor {
        let path = folder.path + "/" + name(number)
        // Open for writing too, so that it is never at its end.
        let end = try WithheldDescriptor(
            name(number), in: folder.descriptor, O_RDWR | O_NONBLOCK | O_NOFOLLOW, "open", path)
        let raw = end.rawValue
        // All who can see the root may ring, and nobody else may listen.
        _ = try systemCall { fchmod(raw, 0o622) }.orThrow("fchmod", path)
        return end
    }

    /// Whether this process was forked from the one that made it: then it has no part in it.
    var isInherited: Bool { forks != ipc_forks() }

    private static func name(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return prefix + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Under the root's lock.
    static func removeDead(_ folder: RootFolder) throws(IPCError) {
        for name in try folder.entries() where name.hasPrefix(prefix) {
            let raw = unsafe ipc_openat(
                folder.descriptor, name, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0)
            if raw >= 0 { Glibc.close(raw) } else if errno == ENXIO { unsafe unlinkat(folder.descriptor, name, 0) }
        }
    }

    var descriptor: FileDescriptor { end.descriptor }

    /// The word that a participant leaves in its slot.
    func word(_ token: UInt32) -> UInt64 { UInt64(number) << 32 | UInt64(token) }

    /// What came of ringing a bell.
    enum Outcome {
        /// Its owner will look.
        case rung
        /// There is no such bell: its owner has ended.
        case gone
        /// Its owner may live, and was not told: this process, or the system, has no descriptor or no memory left to open the bell.
        case failed
    }

    /// Rings the bell that a word names, if its owner lives.
    @discardableResult
    static func ring(_ word: UInt64, in folder: RootFolder) -> Outcome {
        let number = UInt32(truncatingIfNeeded: word >> 32)
        let raw: CInt
        switch retryingInterrupts({
            unsafe ipc_openat(folder.descriptor, name(number), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0)
        }) {
        case .success(let opened): raw = opened
        case .failure(let errno) where errno.isWantOfMeans:
            // One of this process is open already, and nobody else would wake those who wait for it.
            guard let bell = ownBell(number), bell.folder === folder else { return .failed }
            write(word, to: bell.end.rawValue)
            return .rung
        case .failure: return .gone
        }
        let end = OwnedDescriptor(adopting: raw)
        // In a group's root, another may have put a file there that is not to be written to.
        guard (try? FileStatus(of: raw, folder.path))?.isFIFO == true else { return .gone }
        write(word, to: end.rawValue)
        return .rung
    }

    /// Full, it has been rung so often that its owner will look at everything.
    private static func write(_ word: UInt64, to end: CInt) {
        _ = unsafe withUnsafeBytes(of: word) { bytes in
            BrokenPipeSilence().write(unsafe bytes.bytes, to: end, flags: 0)
        }
    }

    private struct Own { weak var bell: Bell? }

    /// The bells of this process, by their numbers.
    private static let own = Locked<[UInt32: Own]>([:])

    /// Nil in a child of a fork, too: the parent's bells are open there on nothing.
    private static func ownBell(_ number: UInt32) -> Bell? {
        let bell = own.withLock { $0[number]?.bell }
        return bell.flatMap { $0.isInherited ? nil : $0 }
    }

    /// Rings this one from within its process.
    func ring(_ token: UInt32) { Self.ring(word(token), in: folder) }

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
    /// The root in which bells for this channel are. Of one without a name it is the current one, which is opened once.
    var bellFolder: RootFolder {
        get throws(IPCError) {
            if let folder { return folder }
            if let known = currentFolder.withLock({ $0 }) { return known }
            let opened = try RootFolder.make(.current)
            currentFolder.withLock { $0 = opened }
            return opened
        }
    }

    func bell(_ role: Membership.Role, _ slot: Int) -> SharedWord {
        switch role {
        case .reader: reader(slot, LogLayout.ReaderSlot.bell)
        case .writer: writer(slot, LogLayout.WriterSlot.bell)
        case .guest: guestMemory.word(LogLayout.Guests.slot(slot) + LogLayout.ReaderSlot.bell)
        }
    }

    /// Rings for the participant in a slot, if it has left its word. The word stays: its owner takes it away when it is awake.
    ///
    /// - Returns: False if it could not be told, and may live.
    func ring(_ role: Membership.Role, _ slot: Int) -> Bool {
        let word = bell(role, slot).ordered
        guard word != 0 else { return true }
        let root: RootFolder
        do throws(IPCError) { root = try bellFolder } catch {
            // Without a root there is no bell either.
            return error.errno.map { !$0.isWantOfMeans } ?? true
        }
        switch Bell.ring(word, in: root) {
        case .rung: return true
        case .failed: return false
        case .gone:
            // Its owner is dead; or the current root was removed, and is to be opened anew.
            currentFolder.withLock { $0 = nil }
            return true
        }
    }
}

extension Errno {
    /// That this process, or the system, has nothing left to do it with now. It says nothing of what was to be opened.
    fileprivate var isWantOfMeans: Bool {
        [.tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory].contains(self)
    }
}
