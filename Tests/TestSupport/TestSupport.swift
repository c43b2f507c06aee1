public import IPC
import Glibc
public import SystemPackage

/// Where the products of this build are, beside the test bundle.
public let productsFolder: String = {
    let path = CommandLine.arguments.first { $0.contains(".xctest") } ?? CommandLine.arguments[0]
    let bundle = FilePath(path).components.firstIndex { $0.string.hasSuffix(".xctest") }
    var folder = FilePath(path)
    if let bundle {
        folder = FilePath(root: FilePath(path).root, FilePath(path).components[..<bundle])
    }
    return folder.string
}()

/// The program `name` of this build.
public func product(_ name: String) -> String { productsFolder + "/" + name }

/// A name that no other test and no other run uses: `ipc-test-PID-N`.
public func uniqueName() -> String { "ipc-test-\(getpid())-\(UInt32.random(in: 0 ... .max))" }

/// The error that `body` throws; nil if it throws none.
public func failure(_ body: () throws(IPCError) -> Void) -> IPCError? {
    do throws(IPCError) {
        try body()
        return nil
    } catch {
        return error
    }
}

/// An array filled by one receive, as long as what came.
public func bytes(capacity: Int, _ receive: (inout MutableRawSpan) throws(IPCError) -> Int) throws(IPCError) -> [UInt8]
{
    var bytes = [UInt8](repeating: 0, count: capacity)
    var elements = bytes.mutableSpan
    var buffer = elements.mutableBytes
    let count = try receive(&buffer)
    bytes.removeSubrange(count...)
    return bytes
}

/// How often something is done again: `count` times, and a tenth of that where `IPC_TEST_SHORT` is set, as `Scripts/test.sh` does for
/// the sanitizers. They find what they look for in the first rounds, and take ten times as long for each.
public func repetitions(_ count: Int) -> Int { getenv("IPC_TEST_SHORT") == nil ? count : count / 10 }

/// Python with posix_ipc, as the test script installs it.
public let python = getenv("IPC_TEST_PYTHON").map { String(cString: $0) } ?? "python3"

extension ChildProcess.Environment {
    /// These variables, each as `NAME=value`.
    public static func only(pairs: [String]) -> Self {
        var variables: [String: String] = [:]
        for pair in pairs {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            variables[String(parts[0])] = String(parts[1])
        }
        return .only(variables)
    }
}

/// A child whose standard output is read here.
public struct Peer: ~Copyable, Sendable {
    public let child: ChildProcess
    public let output: PipeReader

    /// Starts `program` with standard output, and what else it is given, in a pipe.
    public init(
        _ program: String, _ arguments: [String], environment: [String]? = nil,
        descriptors: [CInt: FileDescriptor] = [:]
    ) throws(IPCError) {
        let pipe = try AnonymousPipe()
        let all = descriptors.merging([1: pipe.writer.descriptor]) { given, _ in given }
        child = try ChildProcess(
            program, arguments, environment: environment.map { .only(pairs: $0) } ?? .inherited, descriptors: all)
        output = pipe.closingWriter()
    }

    /// One of the roles of `Tests/TestPeer`.
    public static func role(_ arguments: String..., descriptors: [CInt: FileDescriptor] = [:]) throws(IPCError) -> Peer
    {
        try Peer(product("TestPeer"), arguments, descriptors: descriptors)
    }

    /// Waits for some output, such as `ready`.
    public borrowing func said(within: Duration = .seconds(20)) throws(IPCError) -> String {
        let got = try bytes(capacity: 4096) { (buffer) throws(IPCError) in
            try output.read(into: &buffer, until: .after(within))
        }
        return String(decoding: got, as: UTF8.self)
    }

    /// Waits for its end; returns all that it said since.
    public borrowing func finish(within: Duration = .seconds(60)) throws(IPCError) -> (status: ExitStatus, text: String)
    {
        let text = try output.readToEnd(until: .after(within))
        return (try child.wait(until: .after(within)), String(decoding: text, as: UTF8.self))
    }

    /// Waits until a signal has stopped it.
    public borrowing func waitUntilStopped(within: Duration = .seconds(20)) throws(IPCError) {
        let patience = Deadline.after(within)
        while !patience.hasPassed {
            var status = [CChar](repeating: 0, count: 4096)
            let file = open("/proc/\(child.handle.identifier)/stat", O_RDONLY | O_CLOEXEC)
            let count = read(file, &status, status.count - 1)
            close(file)
            // `pid (name) state …`
            let text = String(decoding: status.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if let end = text.lastIndex(of: ")"), text[end...].hasPrefix(") T") { return }
            usleep(500)
        }
        throw .timedOut("stop", "process \(child.handle.identifier)")
    }

    /// Kills it with SIGKILL and waits until it is gone.
    public borrowing func kill() throws(IPCError) {
        try child.handle.send(.kill)
        _ = try child.wait(until: .after(.seconds(20)))
    }
}

/// How many descriptors this process has open.
public func openDescriptorCount() -> Int {
    guard let folder = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    return count - 3
}

/// A thread that is waited for, with the error that ended it.
public final class PlainThread: @unchecked Sendable {
    private let body: () throws(IPCError) -> Void
    private var error: IPCError?
    private var thread = pthread_t()

    public init(_ body: @escaping () throws(IPCError) -> Void) throws(IPCError) {
        self.body = body
        let argument = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { argument in
                let thread = Unmanaged<PlainThread>.fromOpaque(argument!).takeRetainedValue()
                do throws(IPCError) { try thread.body() } catch { thread.error = error }
                return nil
            }, argument)
        if result != 0 {
            Unmanaged<PlainThread>.fromOpaque(argument).release()
            throw IPCError("pthread_create", "a thread", Errno(rawValue: result))
        }
    }

    /// Waits for its end.
    ///
    /// - Returns: What ended it.
    public func join() -> IPCError? {
        pthread_join(thread, nil)
        return error
    }
}

/// A flag that threads wait for.
public final class Flag: @unchecked Sendable {
    private var mutex = pthread_mutex_t()
    private var condition = pthread_cond_t()
    private var value = false

    public init() {
        pthread_mutex_init(&mutex, nil)
        pthread_cond_init(&condition, nil)
    }

    deinit {
        pthread_cond_destroy(&condition)
        pthread_mutex_destroy(&mutex)
    }

    public func set() {
        pthread_mutex_lock(&mutex)
        value = true
        pthread_cond_broadcast(&condition)
        pthread_mutex_unlock(&mutex)
    }

    public var isSet: Bool {
        pthread_mutex_lock(&mutex)
        defer { pthread_mutex_unlock(&mutex) }
        return value
    }

    public func wait() {
        pthread_mutex_lock(&mutex)
        while !value { pthread_cond_wait(&condition, &mutex) }
        pthread_mutex_unlock(&mutex)
    }
}

/// Waits until something is so.
public func eventually(_ isSo: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<500 {
        if try isSo() { return true }
        usleep(20_000)
    }
    return false
}
