import CIPCShims
import Glibc
import IPC
import SystemPackage

// Creating and removing channels, under the root's lock.
extension RootFolder {
    static let lockName = ".lock"
    private static let newPrefix = ".new-"
    private static let oldPrefix = ".old-"
    /// The files in a channel's folder.
    private static let files = ["control", "log", "locks", "schema", "subscribers"]
    /// The set-group-ID bit: what is created in such a folder belongs to its group.
    private static let setsGroup: mode_t = 0o2000

    // MARK: The lock

    /// Takes the lock, which is held while the descriptor is open. Forked children do not inherit the descriptor; they would keep
    /// the lock. Blocks for a limited time.
    ///
    /// - Returns: Nil if the folder was removed.
    func lock() throws(IPCError) -> WithheldDescriptor? {
        while let file = try openLock() {
            let raw = file.rawValue
            try ByteLock.wait(path, raw, lockPath, until: ByteLock.patience) { () throws(IPCError) in
                try ByteLock.tryTake(raw, ByteLock.ofFolder, path)
            }
            // If the file was removed, others lock a new one by now.
            let status = try FileStatus(of: raw, lockPath)
            guard status.linkCount > 0 else { continue }
            // The folder may have become a group's meanwhile.
            if status.owner == geteuid() || geteuid() == 0 { try share(raw, 0o600, lockPath) }
            return file
        }
        return nil
    }

    private var lockPath: String { path + "/" + Self.lockName }

    /// Opens the lock's file and creates it if there is none. Nil if the folder was removed.
    private func openLock() throws(IPCError) -> WithheldDescriptor? {
        while true {
            // Checked first: opening a device has effects.
            if let found = try status(of: Self.lockName), !found.isRegularFile {
                throw IPCError(
                    .wrongType, "open", lockPath,
                    advice: "it is \(found.kind), but must be a regular file; remove it: it is created again")
            }
            do throws(IPCError) {
                // Never with `O_CREAT`: in a folder with the sticky bit the kernel refuses that for another user's file.
                let file = try WithheldDescriptor(
                    Self.lockName, in: descriptor, O_RDWR | O_NOFOLLOW | O_NONBLOCK, "open", lockPath)
                guard try FileStatus(of: file.rawValue, lockPath).isRegularFile else {
                    throw IPCError(
                        .wrongType, "open", lockPath, advice: "it is not a regular file; remove it: it is created again"
                    )
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

    /// Creates the lock's file, unless another process does. It is created under a temporary name first, because its permissions
    /// are set only after that.
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
            // The lock's holder may have removed this file: its name is that of a leftover.
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

    /// Adds permissions that the umask took away, and in a group's folder those for its group.
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
        // The kernel has done so already where the folder has the set-group-ID bit.
        guard file.group != group else { return }
        _ = try systemCall { fchown(raw, uid_t.max, group) }.orThrow("fchown", path) { errno in
            errno == .notPermitted
                ? "the folder belongs to the group \(UserName.ofGroup(group)), but this user is not a member; join the group, or use another folder"
                : nil
        }
    }

    // MARK: Channels

    /// Creates a channel's folder with what `fill` puts there, unless the channel exists. Requires the lock.
    ///
    /// - Parameter fill: Gets the open new folder, and its path for messages.
    /// - Returns: False if the channel exists.
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
            // The first error is the one that matters; what cannot be deleted is a leftover.
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
        // Those who may use the files may also search the folder; those who may also write to the root may remove what is there.
        let asked = permissions.rawValue
        let search = (asked & 0o444) >> 2 | (asked & 0o222) >> 1
        let mode = asked & (root.mode.rawValue | 0o755) | search | 0o700 | root.mode.rawValue & Self.setsGroup
        _ = try systemCall { fchmod(raw, mode) }.orThrow("fchmod", path)
        return folder
    }

    /// Creates a file in a folder that ``publish(_:permissions:_:)`` fills, and reserves its space.
    func makeFile(
        _ name: String, in folder: CInt, _ path: String, _ permissions: FilePermissions, byteCount: Int
    ) throws(IPCError) -> MappedFile {
        let path = path + "/" + name
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let raw = try retryingInterrupts { unsafe ipc_openat(folder, name, flags, 0o600) }.orThrow("open", path)
        let file = try MappedFile(adopting: OwnedDescriptor(adopting: raw), of: FilePath(path), access: .readWrite)
        try admit(raw, permissions, path)
        // Allocated in full, so that a full file system is an error now and not a SIGBUS later.
        if byteCount > 0 { try file.resize(to: byteCount) }
        return file
    }

    /// Creates a FIFO there whose bytes are locked. It is not a file, because those who may write to a file can fill its disk.
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

    /// Sets exactly the permissions that were asked for, regardless of the umask. In a group's root the group becomes the owner
    /// group.
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

    /// Checks that this user may remove a channel's folder, if there is one, and that it holds nothing else.
    ///
    /// - Throws: ``/IPC/IPCError/Code/permissionDenied``, which says who may; ``/IPC/IPCError/Code/invalidArgument``, which names
    ///   the foreign files in it.
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
        let strays = Self.strays(in: folder.rawValue)
        guard strays.isEmpty else { throw Self.strays(strays, path) }
    }

    /// The entries of a channel's folder that are not the channel's. They belong to somebody and are not removed with the channel.
    /// If the folder cannot be listed, they are found when it is removed.
    static func strays(in folder: CInt) -> [String] {
        let names = (try? namesInFolder(folder, "")) ?? []
        return names.filter { !files.contains($0) || isFilledFolder($0, in: folder) }.sorted()
    }

    private static func strays(_ names: [String], _ path: String) -> IPCError {
        IPCError(
            .invalidArgument, "remove", path,
            advice:
                "it contains \(names.joined(separator: ", ")), which does not belong to the channel; move it away first"
        )
    }

    /// Whether it is a folder that is not empty. An empty one in the place of a channel's file is removed with the channel. For one
    /// that cannot be listed, the removal shows which it is.
    private static func isFilledFolder(_ name: String, in folder: CInt) -> Bool {
        let flags = IPC_O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        guard case .success(let raw) = retryingInterrupts({ unsafe ipc_openat(folder, name, flags, 0) }) else {
            return false
        }
        let opened = OwnedDescriptor(adopting: raw)
        return (try? namesInFolder(opened.rawValue, name))?.isEmpty == false
    }

    /// Removes empty folders in the place of a channel's files, before anything else of the channel is touched.
    private func removeFolders(in folder: borrowing OwnedDescriptor, _ path: String) throws(IPCError) {
        for file in Self.files {
            let raw = folder.rawValue
            switch systemCall({ unsafe unlinkat(raw, file, AT_REMOVEDIR) }) {
            case .success, .failure(.notDirectory), .failure(.noSuchFileOrDirectory): continue
            case .failure(.directoryNotEmpty), .failure(.fileExists): throw Self.strays([file], path)
            case .failure(let errno):
                throw IPCError(
                    "remove", path + "/" + file, errno, advice: try RootTrust.denial(errno, status(), self.path))
            }
        }
    }

    /// Removes a channel's folder, if that is allowed. Requires the lock.
    func remove(_ name: ChannelName) throws(IPCError) {
        let path = path + "/" + name.folder
        // An entry that only has a channel's name, such as a link, is removed as it is.
        if let found = try status(of: name.folder), !found.isFolder { return try unlink(name.folder, 0) }
        // Opened and checked first. Otherwise the channel would be gone, and its files would stay under another name.
        guard let folder = try openFolder(name.folder) else { return }
        try checkRemovable(name, folder)
        try removeFolders(in: folder, path)
        let temporary = temporaryName(Self.oldPrefix)
        switch systemCall({ unsafe ipc_rename_new(descriptor, name.folder, temporary) }) {
        case .success: try delete(temporary, folder)
        case .failure(.noSuchFileOrDirectory): return
        case .failure(let errno):
            throw IPCError("rename", path, errno, advice: try RootTrust.denial(errno, self.status(), self.path))
        }
    }

    /// Removes what a process that died left under a temporary name. Requires the lock.
    func removeLeftovers() throws(IPCError) {
        for name in try entries() where name.hasPrefix(Self.newPrefix) || name.hasPrefix(Self.oldPrefix) {
            do throws(IPCError) { try delete(name) } catch {
                // What another user left is removed by that user's next process; it is in nobody's way.
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

    /// Removes a folder and a channel's files in it.
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

    /// A name that no process uses, of any user: leftovers of another user may still exist.
    private func temporaryName(_ prefix: String) -> String {
        prefix + String(UInt64.random(in: 0 ... .max), radix: 16)
    }
}
