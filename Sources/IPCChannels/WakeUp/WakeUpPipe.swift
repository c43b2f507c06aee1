import CIPCShims
import Glibc
import IPC
import SystemPackage

/// A FIFO in the root, through which other processes wake participants of this process that sleep without a thread.
///
/// A sleeper stores a word in its slot: the wake-up pipe's number, and a token by which the pipe's owner finds the sleeper. A waker
/// writes the word into the FIFO. One wake-up pipe serves any number of participants. The next process that makes a wake-up pipe in
/// the root removes those of dead owners, which nobody has open for reading.
final class WakeUpPipe: Sendable {
    private static let prefix = ".wake-"

    /// Gets the tokens that were signalled; nil if there may have been more. Runs on the reactor's thread.
    typealias OnSignal = @Sendable ([UInt32]?) -> Void

    let number: UInt32
    let folder: RootFolder
    /// Not inherited by forked children: they would keep it open after its owner's death.
    private let end: WithheldDescriptor
    private let forks = ipc_forks()
    /// What reads it; nil if its user does.
    let reactor: Reactor?
    /// When so many bytes are read, the FIFO may have been full, and signals may have been lost.
    private let capacity: Int

    /// Makes one in a channel's root. Takes the root's lock.
    convenience init(in folder: RootFolder, _ reactor: Reactor, onSignal: @escaping OnSignal) throws(IPCError) {
        guard let lock = try folder.lock() else {
            throw IPCError(
                .removed, "wait", folder.path,
                advice: "the folder was removed while it was in use (by a program, or systemd's RemoveIPC); join again")
        }
        try self.init(lockedIn: folder, reactor, onSignal: onSignal)
        _ = consume lock
    }

    /// - Parameter folder: The root, whose lock is held.
    init(lockedIn folder: RootFolder, _ reactor: Reactor? = nil, onSignal: OnSignal? = nil) throws(IPCError) {
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
        Self.own.withLock { pipes in
            pipes = pipes.filter { $0.value.pipe != nil }
            pipes[number] = Own(pipe: self)
        }
        if let reactor {
            try reactor.watch(end.rawValue) { [weak self] in
                guard let self else { return }
                onSignal?(takeSignals())
            }
        }
    }

    deinit {
        // In a forked child it still belongs to the parent.
        guard !isInherited else { return }
        reactor?.unwatch(end.rawValue)
        unsafe unlinkat(folder.descriptor, Self.name(number), 0)
    }

    /// Makes a FIFO. Requires the root's lock.
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
        // Open for writing too, so that a read never finds end-of-file.
        let end = try WithheldDescriptor(
            name(number), in: folder.descriptor, O_RDWR | O_NONBLOCK | O_NOFOLLOW, "open", path)
        let raw = end.rawValue
        // Everyone who can reach the root may signal; only the owner may read.
        _ = try systemCall { fchmod(raw, 0o622) }.orThrow("fchmod", path)
        return end
    }

    /// Whether this process was forked from the one that made it, and so does not own it.
    var isInherited: Bool { forks != ipc_forks() }

    private static func name(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return prefix + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Removes the wake-up pipes of dead owners. Requires the root's lock.
    static func removeDead(_ folder: RootFolder) throws(IPCError) {
        for name in try folder.entries() where name.hasPrefix(prefix) {
            let raw = unsafe ipc_openat(
                folder.descriptor, name, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0)
            if raw >= 0 { Glibc.close(raw) } else if errno == ENXIO { unsafe unlinkat(folder.descriptor, name, 0) }
        }
    }

    var descriptor: FileDescriptor { end.descriptor }

    /// The word that a participant stores in its slot.
    func word(_ token: UInt32) -> UInt64 { UInt64(number) << 32 | UInt64(token) }

    /// The result of signalling a wake-up pipe.
    enum Outcome {
        /// Its owner will check for news.
        case signalled
        /// There is no such wake-up pipe: its owner has ended.
        case gone
        /// Its owner may live and was not signalled: this process or the system has no descriptor or memory left to open the
        /// wake-up pipe.
        case failed
    }

    /// Signals the wake-up pipe that a word names, if its owner lives.
    @discardableResult
    static func signal(_ word: UInt64, in folder: RootFolder) -> Outcome {
        let number = UInt32(truncatingIfNeeded: word >> 32)
        let raw: CInt
        switch retryingInterrupts({
            unsafe ipc_openat(folder.descriptor, name(number), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0)
        }) {
        case .success(let opened): raw = opened
        case .failure(let errno) where errno.isExhaustion:
            // A wake-up pipe of this process is open already. Without this, nobody would wake its sleepers.
            guard let pipe = ownPipe(number), pipe.folder === folder else { return .failed }
            write(word, to: pipe.end.rawValue)
            return .signalled
        case .failure: return .gone
        }
        let end = OwnedDescriptor(adopting: raw)
        // In a group's root, another user may have put a file there that must not be written to.
        guard (try? FileStatus(of: raw, folder.path))?.isFIFO == true else { return .gone }
        write(word, to: end.rawValue)
        return .signalled
    }

    /// A failed write is ignored. If the FIFO is full, it has been signalled so often that its owner checks everything.
    private static func write(_ word: UInt64, to end: CInt) {
        _ = unsafe withUnsafeBytes(of: word) { bytes in
            BrokenPipeSilence().write(unsafe bytes.bytes, to: end, flags: 0)
        }
    }

    private struct Own { weak var pipe: WakeUpPipe? }

    /// The wake-up pipes of this process by number.
    private static let own = Locked<[UInt32: Own]>([:])

    /// Nil in a forked child too: there the parent's descriptors are `/dev/null`.
    private static func ownPipe(_ number: UInt32) -> WakeUpPipe? {
        let pipe = own.withLock { $0[number]?.pipe }
        return pipe.flatMap { $0.isInherited ? nil : $0 }
    }

    /// Signals this one from within its process.
    func signal(_ token: UInt32) { Self.signal(word(token), in: folder) }

    /// The tokens that were signalled; nil if there may have been more.
    func takeSignals() -> [UInt32]? {
        unsafe withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 8192) { words in
            let count = unsafe read(end.rawValue, words.baseAddress, 65_536)
            guard count < min(capacity, 65_536) else { return nil }
            let rung = unsafe words[..<(max(count, 0) / 8)]
            return unsafe rung.map { UInt32(truncatingIfNeeded: $0) }
        }
    }
}

extension ChannelMemory {
    /// The root that holds the wake-up pipes for this channel. For a channel without a name it is the current root, opened once.
    var wakeUpFolder: RootFolder {
        get throws(IPCError) {
            if let folder { return folder }
            if let known = currentFolder.withLock({ $0 }) { return known }
            let opened = try RootFolder.make(.current)
            currentFolder.withLock { $0 = opened }
            return opened
        }
    }

    /// Signals the participant in a slot, if it has stored its word. The word stays: its owner clears it when it is awake.
    ///
    /// - Returns: False if the participant may live and could not be signalled.
    func signal(_ role: ParticipantRole, _ slot: Int) -> Bool {
        let word = wakeUpWord(role, slot).ordered
        guard word != 0 else { return true }
        let root: RootFolder
        do throws(IPCError) { root = try wakeUpFolder } catch {
            // Without a root there is no wake-up pipe either.
            return error.errno.map { !$0.isExhaustion } ?? true
        }
        switch WakeUpPipe.signal(word, in: root) {
        case .signalled: return true
        case .failed: return false
        case .gone:
            // The owner is dead, or the current root was removed and has to be opened again.
            currentFolder.withLock { $0 = nil }
            return true
        }
    }
}

extension Errno {
    /// Whether this process or the system has run out of descriptors or memory. It says nothing about the file.
    fileprivate var isExhaustion: Bool {
        [.tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory].contains(self)
    }
}

extension ChannelRoot {
    /// Removes the folder with what dead processes left in it, if it holds no channel. Holds the root's lock meanwhile.
    ///
    /// - Throws: ``/IPC/IPCError/Code/system`` with `ENOTEMPTY` if it holds a channel, or a process waits there.
    package func removeIfUnused() throws(IPCError) {
        guard try RootFolder.open(self) != nil else { return }
        try withLock { (folder) throws(IPCError) in
            try WakeUpPipe.removeDead(folder)
            unsafe unlinkat(folder.descriptor, RootFolder.lockName, 0)
            _ = try systemCall { unsafe rmdir(path) }.orThrow("rmdir", path)
        }
    }
}
