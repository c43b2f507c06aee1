import CIPCShims
import Glibc
import SystemPackage

// What `create`, `open` and `openOrCreate` of all mechanisms with names have in common.

/// Opens what has a name, and creates it if it is not there.
///
/// An existing one is opened without `O_CREAT`: the kernel refuses that flag for another user's object in a folder that
/// everyone may write to, such as `/dev/shm`, even to the superuser (`fs.protected_regular`).
///
/// - Parameter open: Opens with these additional flags.
/// - Returns: The descriptor, and whether it was created by this call.
func openingOrCreating(_ open: (CInt) -> Result<CInt, Errno>) -> Result<(raw: CInt, isNew: Bool), Errno> {
    // Tried again if it is removed between the two calls; so many times, so that others cannot keep this from ending.
    for _ in 0..<100 {
        switch open(O_CREAT | O_EXCL) {
        case .success(let raw): return .success((raw, true))
        case .failure(.fileExists): break
        case .failure(let errno): return .failure(errno)
        }
        switch open(0) {
        case .success(let raw): return .success((raw, false))
        case .failure(.noSuchFileOrDirectory): continue
        case .failure(let errno): return .failure(errno)
        }
    }
    return .failure(.fileExists)
}

/// Runs `open` until the object exists.
///
/// - Parameters:
///   - folder: Where the name appears, to be watched; nil if it is in none.
///   - open: Returns nil if there is no such object.
/// - Throws: ``IPCError/Code/timedOut`` if nobody created it before the deadline; what `open` throws.
package func waitingForCreation<Value: ~Copyable>(
    in folder: FilePath?, until deadline: Deadline, _ operation: String, _ name: String,
    _ open: () throws(IPCError) -> Value?
) throws(IPCError) -> Value {
    if let value = try open() { return value }
    var wait = CreationWait(in: folder)
    while true {
        // Again after the watch began, so that a creation in between is not missed.
        if let value = try open() { return value }
        guard try wait.next(until: deadline) else { throw notCreated(operation, name) }
    }
}

/// The same, suspended meanwhile.
package nonisolated(nonsending) func waitingForCreation<Value: ~Copyable>(
    in folder: FilePath?, until deadline: Deadline, _ operation: String, _ name: String,
    _ open: () throws(IPCError) -> Value?
) async throws(IPCError) -> Value {
    if let value = try open() { return value }
    var wait = CreationWait(in: folder)
    while true {
        if let value = try open() { return value }
        guard try await wait.next(until: deadline, operation, name) else { throw notCreated(operation, name) }
    }
}

private func notCreated(_ operation: String, _ name: String) -> IPCError {
    IPCError(
        .timedOut, operation, name,
        advice: "it was not created before the deadline; start the process that creates it, or allow more time")
}

/// Waits for names to appear in a folder: by a watch, or, where there is none, by pauses that become longer.
private struct CreationWait: ~Copyable {
    private let watch: FileWatch?
    private var pause: UInt64 = 1_000_000

    /// In nanoseconds.
    private static let longestPause: UInt64 = 20_000_000

    init(in folder: FilePath?) {
        guard let folder else {
            watch = nil
            return
        }
        // Without a free watch, and while the folder itself is missing, pauses do.
        do throws(IPCError) {
            watch = try FileWatch(folder.isEmpty ? "." : folder, for: .newNames)
        } catch {
            watch = nil
        }
    }

    /// - Returns: False if the deadline has passed.
    mutating func next(until deadline: Deadline) throws(IPCError) -> Bool {
        guard !deadline.hasPassed else { return false }
        let end = nextAttempt(deadline)
        if watch != nil {
            _ = try watch!.wait(until: end)
        } else {
            // Interrupted, it is a shorter pause.
            usleep(UInt32((end.nanoseconds &- min(MonotonicClock.now, end.nanoseconds)) / 1000))
        }
        return true
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) mutating func next(
        until deadline: Deadline, _ operation: String, _ name: String
    ) async throws(IPCError) -> Bool {
        guard !deadline.hasPassed else { return false }
        let end = nextAttempt(deadline)
        if watch != nil {
            _ = try await watch!.wait(until: end)
        } else if case .cancelled = try await Reactor.park(until: end, { _ in true }) {
            throw .cancelled(operation, name)
        }
        return true
    }

    private mutating func nextAttempt(_ deadline: Deadline) -> Deadline {
        // With a watch, once a second as well: the folder may have been replaced by another one.
        guard watch == nil else { return min(deadline, .after(.seconds(1))) }
        defer { pause = min(2 * pause, Self.longestPause) }
        return min(deadline, Deadline(nanoseconds: MonotonicClock.now &+ pause))
    }
}

/// Checks that an object that exists has the permissions that were asked for; nil asks for none.
func checkPermissions(
    _ asked: FilePermissions?, of status: FileStatus, _ operation: String, _ name: String
) throws(IPCError) {
    guard let asked, asked != status.mode else { return }
    throw .incompatible(operation, name, "permissions", existing: status.mode.octal, asked: asked.octal)
}

/// Gives an object that was created by this process the permissions that were asked for, whatever the umask took away.
func setPermissions(_ permissions: FilePermissions, of descriptor: CInt, _ name: String) throws(IPCError) {
    guard try FileStatus(of: descriptor, name).mode != permissions else { return }
    _ = try retryingInterrupts { fchmod(descriptor, permissions.rawValue) }.orThrow("fchmod", name)
}

/// The same of a file that this process has created at `path`, which is not opened for that.
///
/// By a descriptor, and after a look at what it is of: in a folder that others may write to, the name may have come to mean
/// something else, which `chmod` by path would change.
func setPermissions(
    _ permissions: FilePermissions, ofFileAt path: FilePath, _ name: String, _ isExpected: (FileStatus) -> Bool
) throws(IPCError) {
    let raw = try retryingInterrupts {
        unsafe path.withPlatformString { unsafe ipc_open_path($0, IPC_O_PATH | O_NOFOLLOW | O_CLOEXEC, 0) }
    }.orThrow("open", name)
    let descriptor = OwnedDescriptor(adopting: raw)
    let status = try FileStatus(of: descriptor.rawValue, name)
    guard isExpected(status), status.owner == geteuid(), status.linkCount == 1 else {
        throw IPCError(
            .permissionDenied, "chmod", name,
            advice: "another user has replaced it; use a folder of your own")
    }
    guard status.mode != permissions else { return }
    _ = try systemCall { unsafe chmod(SystemPaths.descriptor(raw).string, permissions.rawValue) }
        .orThrow("chmod", name) { errno in
            errno == .noSuchFileOrDirectory
                ? "its permissions are set through /proc, which is not mounted; mount it, or set the umask"
                : nil
        }
}
