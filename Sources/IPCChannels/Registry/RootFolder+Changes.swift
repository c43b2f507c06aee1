import CIPCShims
import Glibc
import IPC
import SystemPackage

// Making channels and taking them away, under the root's lock.
extension RootFolder {
    static let lockName = ".lock"
    private static let newPrefix = ".new-"
    private static let oldPrefix = ".old-"
    /// What a channel's folder has.
    private static let files = ["control", "log", "locks", "subscribers"]
    /// What is made in such a folder belongs to its group.
    private static let setsGroup: mode_t = 0o2000

    // MARK: The lock

    /// Takes the lock, for as long as the descriptor is open. Withheld: a child that is forked meanwhile would keep it.
    ///
    /// - Returns: Nil if the folder was removed.
    func lock() throws(IPCError) -> WithheldDescriptor? {
        while let file = try openLock() {
            let raw = file.rawValue
            try ByteLock.wait(path, raw, lockPath, until: ByteLock.patience) { () throws(IPCError) in
                try ByteLock.tryTake(raw, LogLayout.LockByte.gate, path)
            }
            // If the file was removed, others lock another by now.
            let status = try FileStatus(of: raw, lockPath)
            guard status.linkCount > 0 else { continue }
            // The folder may have become a group's since.
            if status.owner == geteuid() || geteuid() == 0 { try share(raw, 0o600, lockPath) }
            return file
        }
        return nil
    }

    private var lockPath: String { path + "/" + Self.lockName }

    /// Nil if the folder was removed.
    private func openLock() throws(IPCError) -> WithheldDescriptor? {
        while true {
            // Looked at first: a device does something when it is opened.
            if let found = try status(of: Self.lockName), !found.isRegularFile {
                throw IPCError(
                    .wrongType, "open", lockPath,
                    advice: "it is \(found.kind), and has to be a regular file; remove it: it is made anew")
            }
            do throws(IPCError) {
                // Never with `O_CREAT`: in a folder with the sticky bit the kernel refuses that for another's file.
                let file = try WithheldDescriptor(
                    Self.lockName, in: descriptor, O_RDWR | O_NOFOLLOW | O_NONBLOCK, "open", lockPath)
                guard try FileStatus(of: file.rawValue, lockPath).isRegularFile else {
                    throw IPCError(
                        .wrongType, "open", lockPath, advice: "it is no regular file; remove it: it is made anew")
                }
                return file
            } catch {
                guard error.errno == .noSuchFileOrDirectory else {
                    guard let errno = error.errno, let status = try status(of: Self.lockName) else { throw error }
                    throw IPCError("open", lockPath, errno, advice: RootTrust.denial(errno, status, lockPath))
                }
            }
            guard try makeLock() else { return nil }
        }
    }

    /// Makes the lock's file, unless another does: under another name first, since it has its permissions only then.
    ///
    /// - Returns: False if the folder was removed.
    private func makeLock() throws(IPCError) -> Bool {
        let name = temporaryName(Self.newPrefix)
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let raw: CInt
        switch retryingInterrupts({ unsafe ipc_openat(descriptor, name, flags, 0o600) }) {
        case .success(let made): raw = made
        case .failure(.noSuchFileOrDirectory): return false
        case .failure(let errno):
            throw IPCError("create", lockPath, errno, advice: try RootTrust.denial(errno, status(), path))
        }
        let file = OwnedDescriptor(adopting: raw)
        do throws(IPCError) {
            try share(raw, 0o600, lockPath)
            let result = systemCall { unsafe ipc_rename_new(descriptor, name, Self.lockName) }
            // Whoever has the lock may have removed ours, which has such a name as the dead leave.
            if case .failure(let errno) = result, errno != .fileExists, errno != .noSuchFileOrDirectory {
                throw IPCError("rename", lockPath, errno)
            }
            if case .failure = result { unsafe unlinkat(descriptor, name, 0) }
        } catch {
            unsafe unlinkat(descriptor, name, 0)
            throw error
        }
        try file.close()
        return true
    }

    /// Sets permissions, whatever the umask took away, and lets the group of a folder in that is a group's.
    private func share(_ raw: CInt, _ permissions: mode_t, _ path: String) throws(IPCError) {
        let (folder, file) = try (status(), FileStatus(of: raw, path))
        let isGroups = folder.mode.rawValue & 0o020 != 0
        if isGroups { try give(raw, to: folder.group, file, path) }
        let wanted = permissions | (isGroups ? 0o060 : 0)
        if file.mode.rawValue & wanted != wanted {
            _ = try systemCall { fchmod(raw, file.mode.rawValue | wanted) }.orThrow("fchmod", path)
        }
    }

    private func give(_ raw: CInt, to group: gid_t, _ file: FileStatus, _ path: String) throws(IPCError) {
        // The kernel has done that where the folder has the set-group-ID bit.
        guard file.group != group else { return }
        _ = try systemCall { fchown(raw, uid_t.max, group) }.orThrow("fchown", path) { errno in
            errno == .notPermitted
                ? "the folder belongs to the group \(UserName.ofGroup(group)), of which this user is no member; become one, or use another folder"
                : nil
        }
    }

    // MARK: Channels

    /// Makes a folder with what `fill` puts there, or finds that the channel exists. Under the lock.
    ///
    /// - Parameter fill: Gets the new folder, open, and its path for messages.
    /// - Returns: False if it exists.
    func publish(
        _ name: ChannelName, permissions: FilePermissions, _ fill: (CInt, String) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        guard try status(of: name.folder) == nil else { return false }
        let temporary = temporaryName(Self.newPrefix)
        let folder = try status()
        _ = try systemCall { unsafe mkdirat(descriptor, temporary, 0o700) }.orThrow("mkdir", path + "/" + temporary) {
            errno in
            RootTrust.denial(errno, folder, path)
        }
        do throws(IPCError) {
            let new = try openNew(temporary, permissions)
            try fill(new.rawValue, path + "/" + temporary)
            _ = try systemCall { unsafe ipc_rename_new(descriptor, temporary, name.folder) }
                .orThrow("rename", path + "/" + name.folder)
        } catch {
            // The error that matters is the one that was there first; what stays is a leftover.
            try? delete(temporary)
            throw error
        }
        return true
    }

    private func openNew(_ name: String, _ permissions: FilePermissions) throws(IPCError) -> OwnedDescriptor {
        let path = path + "/" + name
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        var result = retryingInterrupts { unsafe ipc_openat(descriptor, name, flags, 0) }
        if case .failure(.permissionDenied) = result {
            // A umask may take away even what the owner needs to open it.
            _ = systemCall { unsafe fchmodat(descriptor, name, 0o700, AT_SYMLINK_NOFOLLOW) }
            result = retryingInterrupts { unsafe ipc_openat(descriptor, name, flags, 0) }
        }
        let folder = OwnedDescriptor(adopting: try result.orThrow("open", path))
        let raw = folder.rawValue
        let (root, own) = try (status(), FileStatus(of: raw, path))
        if root.mode.rawValue & 0o020 != 0 { try give(raw, to: root.group, own, path) }
        // Who may use the files may also look into the folder; who may also write to the root may remove what is there.
        let asked = permissions.rawValue
        let search = (asked & 0o444) >> 2 | (asked & 0o222) >> 1
        let mode = asked & (root.mode.rawValue | 0o755) | search | 0o700 | root.mode.rawValue & Self.setsGroup
        _ = try systemCall { fchmod(raw, mode) }.orThrow("fchmod", path)
        return folder
    }

    /// Makes a file in a folder that ``publish(_:permissions:_:)`` fills, its space reserved.
    func makeFile(
        _ name: String, in folder: CInt, _ path: String, _ permissions: FilePermissions, byteCount: Int
    ) throws(IPCError) -> MappedFile {
        let path = path + "/" + name
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let raw = try retryingInterrupts { unsafe ipc_openat(folder, name, flags, 0o600) }.orThrow("open", path)
        let file = try MappedFile(adopting: OwnedDescriptor(adopting: raw), of: FilePath(path), access: .readWrite)
        try admit(raw, permissions, path)
        // In full, so that a full file system is an error now, and not SIGBUS later.
        if byteCount > 0 { try file.resize(to: byteCount) }
        return file
    }

    /// Makes a FIFO there, for its bytes to be locked: who may write to a file can fill its disk.
    func makeFIFO(
        _ name: String, in folder: CInt, _ path: String, _ permissions: FilePermissions
    ) throws(IPCError) {
        let path = path + "/" + name
        _ = try systemCall { unsafe mkfifoat(folder, name, 0o600) }.orThrow("mkfifo", path)
        let flags = O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC
        let file = OwnedDescriptor(
            adopting: try retryingInterrupts { unsafe ipc_openat(folder, name, flags, 0) }.orThrow("open", path))
        try admit(file.rawValue, permissions, path)
    }

    /// Lets in who is to be, whatever the umask took away: it was asked for by name.
    private func admit(_ raw: CInt, _ permissions: FilePermissions, _ path: String) throws(IPCError) {
        let root = try status()
        if root.mode.rawValue & 0o020 != 0 { try give(raw, to: root.group, FileStatus(of: raw, path), path) }
        _ = try systemCall { fchmod(raw, permissions.rawValue) }.orThrow("fchmod", path)
    }

    /// Waits until the names of a channel's files are on the disk.
    func sync(_ name: ChannelName) throws(IPCError) {
        for (entry, path) in [(name.folder, path + "/" + name.folder), (".", path)] {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            let file = OwnedDescriptor(
                adopting: try retryingInterrupts { unsafe ipc_openat(descriptor, entry, flags, 0) }
                    .orThrow("open", path))
            let raw = file.rawValue
            _ = try retryingInterrupts { fsync(raw) }.orThrow("fsync", path)
        }
    }

    /// Makes sure that this user may take a channel's folder away, if there is one, and that nothing else is in it.
    ///
    /// - Throws: ``IPC/IPCError/Code/permissionDenied``, which says who may; ``IPC/IPCError/Code/invalidArgument``, which names what
    ///   somebody else has put there.
    func checkRemovable(_ name: ChannelName) throws(IPCError) {
        guard let folder = try openFolder(name.folder) else { return }
        try checkRemovable(name, folder)
    }

    private func checkRemovable(_ name: ChannelName, _ folder: borrowing OwnedDescriptor) throws(IPCError) {
        let (path, root) = (path + "/" + name.folder, try status())
        let own = try FileStatus(of: folder.rawValue, path)
        for (raw, status, place) in [(descriptor, root, self.path), (folder.rawValue, own, path)] {
            _ = try systemCall { unsafe faccessat(raw, ".", W_OK | X_OK, AT_EACCESS) }.orThrow("remove", path) {
                RootTrust.denial($0, status, place)
            }
        }
        let isSticky = root.mode.rawValue & 0o1000 != 0
        if isSticky, geteuid() != 0, own.owner != geteuid(), root.owner != geteuid() {
            throw IPCError(
                "remove", path, .notPermitted, advice: RootTrust.denial(.notPermitted, own, path))
        }
        // Who may not list it finds out when it is removed.
        let names = try? namesInFolder(folder.rawValue, path)
        let strays = (names ?? []).filter { name in
            // A folder may have whatever in it.
            !Self.files.contains(name) || (try? FileStatus(of: name, in: folder.rawValue, path))?.isFolder == true
        }.sorted()
        guard strays.isEmpty else {
            throw IPCError(
                .invalidArgument, "remove", path,
                advice: "\(strays.joined(separator: ", ")) is there, which is not the channel's; move it away first")
        }
    }

    /// Takes a channel's folder away, if it may be. Under the lock.
    func remove(_ name: ChannelName) throws(IPCError) {
        let path = path + "/" + name.folder
        // What only has the name of a channel, such as a link, is taken away as it is.
        if let found = try status(of: name.folder), !found.isFolder { return try unlink(name.folder, 0) }
        // Opened and looked at first: else it would be gone, and its files would stay under another name.
        guard let folder = try openFolder(name.folder) else { return }
        try checkRemovable(name, folder)
        let temporary = temporaryName(Self.oldPrefix)
        switch systemCall({ unsafe ipc_rename_new(descriptor, name.folder, temporary) }) {
        case .success: try delete(temporary, folder)
        case .failure(.noSuchFileOrDirectory): return
        case .failure(let errno):
            throw IPCError("rename", path, errno, advice: try RootTrust.denial(errno, self.status(), self.path))
        }
    }

    /// Under the lock: what has such a name now is of a process that died.
    func removeLeftovers() throws(IPCError) {
        for name in try entries() where name.hasPrefix(Self.newPrefix) || name.hasPrefix(Self.oldPrefix) {
            do throws(IPCError) { try delete(name) } catch {
                // What another user left, its own next process removes: it is in nobody's way.
                guard error.code == .permissionDenied || error.errno == .directoryNotEmpty else { throw error }
            }
        }
    }

    private func delete(_ name: String) throws(IPCError) {
        guard let status = try status(of: name) else { return }
        if status.isFolder {
            if let folder = try openFolder(name) { try delete(name, folder) }
            return
        }
        try unlink(name, 0)
    }

    /// Takes a folder and a channel's files in it away.
    private func delete(_ name: String, _ folder: borrowing OwnedDescriptor) throws(IPCError) {
        for file in Self.files { unsafe unlinkat(folder.rawValue, file, 0) }
        try unlink(name, AT_REMOVEDIR)
    }

    private func unlink(_ name: String, _ flags: CInt) throws(IPCError) {
        let path = path + "/" + name
        let result = systemCall { unsafe unlinkat(descriptor, name, flags) }
        guard case .failure(let errno) = result, errno != .noSuchFileOrDirectory else { return }
        throw IPCError("remove", path, errno)
    }

    /// One that no process uses, whoever made it: the dead of another user may have left theirs.
    private func temporaryName(_ prefix: String) -> String {
        prefix + String(UInt64.random(in: 0 ... .max), radix: 16)
    }
}
