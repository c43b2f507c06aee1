import CIPCShims
import Glibc
public import SystemPackage

/// A pipe with a name in the file system (FIFO), for processes that are not related.
///
/// ```swift
/// let pipe = try NamedPipe.create("/tmp/requests")
/// let reader = try pipe.openForReading(until: .after(.seconds(5)))
/// ```
///
/// The name lives until ``unlink()``; what was written and not read is lost with the last descriptor. A reader sees the
/// end whenever the last writer leaves, though another may come: keep a writing end open yourself to read on.
public struct NamedPipe: Hashable, Sendable {
    public let path: FilePath

    private init(named path: FilePath) { self.path = path }

    /// Creates a FIFO, which must not exist. The C function is `mkfifo`.
    ///
    /// - Parameters:
    ///   - path: Where.
    ///   - permissions: Who may open it, whatever the process's umask is.
    /// - Throws: ``IPCError/Code/alreadyExists`` if anything is there; ``IPCError/Code/notFound`` without its folder;
    ///   ``IPCError/Code/invalidName``.
    public static func create(
        _ path: FilePath, permissions: FilePermissions = .ownerReadWrite
    ) throws(IPCError) -> NamedPipe {
        try path.check("mkfifo")
        guard try make(path, permissions) else { throw IPCError("mkfifo", path.string, .fileExists) }
        return NamedPipe(named: path)
    }

    /// Refers to a FIFO that exists. Its ends are opened by `openForReading(until:)` and `openForWriting(until:)`.
    ///
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/wrongType`` if the path is not a FIFO.
    public static func open(_ path: FilePath) throws(IPCError) -> NamedPipe {
        try path.check("open")
        guard try FileStatus(at: path).isFIFO else { throw Self.notAFIFO(path) }
        return NamedPipe(named: path)
    }

    /// Refers to a FIFO, waiting until it exists.
    ///
    /// - Throws: ``IPCError/Code/timedOut`` if nobody created it; ``IPCError/Code/wrongType`` if the path is not a FIFO.
    public static func open(_ path: FilePath, until deadline: Deadline) throws(IPCError) -> NamedPipe {
        try path.check("open")
        return try waitingForCreation(in: path.removingLastComponent(), until: deadline, "open", path.string) {
            () throws(IPCError) in try existing(path)
        }
    }

    /// Refers to the FIFO at a path, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - path: Where.
    ///   - permissions: Who may open it; nil for 0600 if it is created, and for whatever it has if it exists.
    /// - Throws: ``IPCError/Code/incompatibleOptions`` if it exists with other permissions than were asked for;
    ///   ``IPCError/Code/wrongType`` if something else is there.
    public static func openOrCreate(
        _ path: FilePath, permissions: FilePermissions? = nil
    ) throws(IPCError) -> NamedPipe {
        try path.check("mkfifo")
        if try make(path, permissions ?? .ownerReadWrite) { return NamedPipe(named: path) }
        let status = try FileStatus(at: path)
        guard status.isFIFO else { throw Self.notAFIFO(path) }
        try checkPermissions(permissions, of: status, "open", path.string)
        return NamedPipe(named: path)
    }

    /// - Returns: False if something is there.
    private static func make(_ path: FilePath, _ permissions: FilePermissions) throws(IPCError) -> Bool {
        switch retryingInterrupts({ unsafe path.withPlatformString { unsafe mkfifo($0, permissions.rawValue) } }) {
        case .success: break
        case .failure(.fileExists): return false
        case .failure(let errno): throw IPCError("mkfifo", path.string, errno)
        }
        // Not looked at if nothing can have been taken away: if that failed, it would be there, and the caller would not know.
        guard permissions != .ownerReadWrite else { return true }
        do throws(IPCError) {
            try setPermissions(permissions, ofFileAt: path, path.string) { $0.isFIFO }
        } catch {
            unsafe path.withPlatformString { _ = unsafe Glibc.unlink($0) }
            throw error
        }
        return true
    }

    /// Nil if there is nothing.
    private static func existing(_ path: FilePath) throws(IPCError) -> NamedPipe? {
        do throws(IPCError) {
            return try open(path)
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// Removes the name. Who has it open goes on. The C function is `unlink`.
    public func unlink() throws(IPCError) {
        _ = try retryingInterrupts { unsafe path.withPlatformString { unsafe Glibc.unlink($0) } }.orThrow(
            "unlink", path.string)
    }

    /// Opens the reading end, waiting for a writer.
    ///
    /// Unlike `open`, which waits for ever, this gives up at the deadline.
    /// - Throws: ``IPCError/Code/timedOut`` if no writer came; ``IPCError/Code/wrongType`` if the path is not a FIFO.
    public func openForReading(until deadline: Deadline = .never) throws(IPCError) -> PipeReader {
        // Watched before the first look, so that a writer who comes in between is noticed.
        let watch = try FileWatch(path, for: .openings)
        let descriptor = try open(O_RDONLY)
        while try !hasWriter(descriptor.rawValue) {
            guard try watch.wait(until: deadline) else { throw noPeer("writer") }
        }
        return PipeReader(try blockingEnd(descriptor))
    }

    /// Opens the reading end without waiting for a writer: until one has come, reads find the end of the stream.
    public func tryOpenForReading() throws(IPCError) -> PipeReader { PipeReader(try blockingEnd(try open(O_RDONLY))) }

    /// Opens the writing end, waiting for a reader.
    ///
    /// - Throws: ``IPCError/Code/timedOut`` if no reader came; ``IPCError/Code/wrongType`` if the path is not a FIFO.
    public func openForWriting(until deadline: Deadline = .never) throws(IPCError) -> PipeWriter {
        let watch = try FileWatch(path, for: .openings)
        while true {
            if let writer = try tryOpenForWriting() { return writer }
            guard !deadline.hasPassed else { throw noPeer("reader") }
            // A reader that blocks in its own `open`, as `cat` does, is there but not told by inotify until a writer
            // comes: so look again every few milliseconds as well.
            _ = try watch.wait(until: min(deadline, .after(.milliseconds(5))))
        }
    }

    /// Opens the writing end if there is a reader; nil if not (`O_NONBLOCK` and `ENXIO`).
    public func tryOpenForWriting() throws(IPCError) -> PipeWriter? {
        do throws(IPCError) {
            return PipeWriter(try blockingEnd(try open(O_WRONLY)))
        } catch  where error.errno == .noSuchAddressOrDevice {
            return nil
        }
    }
}

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension NamedPipe {
    /// Refers to a FIFO, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ path: FilePath, until deadline: Deadline
    ) async throws(IPCError) -> NamedPipe {
        try path.check("open")
        return try await waitingForCreation(in: path.removingLastComponent(), until: deadline, "open", path.string) {
            () throws(IPCError) in try existing(path)
        }
    }

    /// Opens the reading end, suspended until there is a writer.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) func openForReading(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> PipeReader {
        let watch = try FileWatch(path, for: .openings)
        let descriptor = try open(O_RDONLY)
        while try !hasWriter(descriptor.rawValue) {
            guard try await watch.wait(until: deadline) else { throw noPeer("writer") }
        }
        return PipeReader(try blockingEnd(descriptor))
    }

    /// Opens the writing end, suspended until there is a reader.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) func openForWriting(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> PipeWriter {
        let watch = try FileWatch(path, for: .openings)
        while true {
            if let writer = try tryOpenForWriting() { return writer }
            guard !deadline.hasPassed else { throw noPeer("reader") }
            _ = try await watch.wait(until: min(deadline, .after(.milliseconds(5))))
        }
    }
}

extension NamedPipe {
    /// Opens without waiting, and makes sure that it is a FIFO before anything is read from it or written to it.
    private func open(_ mode: CInt) throws(IPCError) -> OwnedDescriptor {
        // Looked at first, since opening a device can have effects, and once more when open.
        guard try FileStatus(at: path).isFIFO else { throw Self.notAFIFO(path) }
        let descriptor = OwnedDescriptor(
            adopting: try openFile(path, mode | O_NONBLOCK | O_NOCTTY)
                .orThrow("open", path.string, advice: refusedLinkAdvice))
        guard try FileStatus(of: descriptor.rawValue, path.string).isFIFO else { throw Self.notAFIFO(path) }
        return descriptor
    }

    /// The descriptor as a pipe's end that blocks: nobody else shares its description yet.
    private func blockingEnd(_ descriptor: consuming OwnedDescriptor) throws(IPCError) -> PipeEnd {
        let raw = descriptor.rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", path.string)
        _ = try systemCall { ipc_fcntl_int(raw, F_SETFL, flags & ~O_NONBLOCK) }.orThrow("fcntl", path.string)
        return try PipeEnd(adopting: descriptor, name: path.string)
    }

    /// Whether a writer has it open, or has left bytes: without taking any, by copying one to a pipe of our own.
    private func hasWriter(_ descriptor: CInt) throws(IPCError) -> Bool {
        let scratch = try AnonymousPipe()
        let target = scratch.writer.descriptor.rawValue
        switch retryingInterrupts({ ipc_tee(descriptor, target, 1) }) {
        case .success(let count): return count > 0
        case .failure(.resourceTemporarilyUnavailable): return true  // empty, but somebody may write
        case .failure(let errno): throw IPCError("tee", path.string, errno)
        }
    }

    private func noPeer(_ side: String) -> IPCError {
        IPCError(
            .timedOut, "open", path.string,
            advice: "no \(side) opened it before the deadline; start one, or allow more time")
    }

    private static func notAFIFO(_ path: FilePath) -> IPCError {
        IPCError(
            .wrongType, "open", path.string, advice: "this is not a FIFO; choose another path, or create a FIFO")
    }
}
