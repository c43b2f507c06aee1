import CIPCShims
import Glibc
import SystemPackage

/// The addresses of an endpoint: one, or all that its host name has, in the order in which the system would try them.
///
/// The system's resolver knows no deadline. So a call that has one, or that must not block its thread, has one of the threads of
/// ``Resolver`` ask it, and goes on without the answer when the deadline passes. A literal address, and a Unix socket's, is never
/// asked for.
enum HostLookup {
    /// Waits for the answer in this thread.
    static func addresses(of endpoint: Endpoint, until deadline: Deadline) throws(IPCError) -> [RawSocketAddress] {
        let request: Request
        switch try start(endpoint) {
        case .known(let addresses): return addresses
        case .asking(let asking): request = asking
        }
        if deadline == .never { return try request.ask() }
        let answer = try Resolver.shared.answer(to: request)
        guard try Readiness.readable.wait(for: answer.descriptor, until: deadline) else { throw request.isLate }
        return try answer.take()
    }

    /// The same, suspended meanwhile.
    static nonisolated(nonsending) func addressesWithoutBlocking(
        of endpoint: Endpoint, until deadline: Deadline
    ) async throws(IPCError) -> [RawSocketAddress] {
        let request: Request
        switch try start(endpoint) {
        case .known(let addresses): return addresses
        case .asking(let asking): request = asking
        }
        let answer = try Resolver.shared.answer(to: request)
        do throws(IPCError) {
            try await Reactor.wait(for: .readable, of: answer.descriptor, until: deadline, "look up", request.name)
        } catch {
            throw error.code == .timedOut ? request.isLate : error
        }
        return try answer.take()
    }

    /// For a call that never waits, and so asks nobody.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` for a host name.
    static func addressesAtOnce(of endpoint: Endpoint) throws(IPCError) -> [RawSocketAddress] {
        switch try start(endpoint) {
        case .known(let addresses): return addresses
        case .asking(let request):
            throw IPCError(
                .invalidArgument, "look up", request.name,
                advice:
                    "\"\(request.host)\" is a host name, which must be looked up, but this call never waits; give a literal address, or a deadline"
            )
        }
    }

    private enum Start {
        case known([RawSocketAddress])
        case asking(Request)
    }

    private static func start(_ endpoint: Endpoint) throws(IPCError) -> Start {
        switch endpoint {
        case .unix, .unixAbstract: return .known([try RawSocketAddress(unix: endpoint)])
        case .tcp(let host, let port), .udp(let host, let port):
            guard !host.utf8.contains(0) else {
                throw IPCError(
                    .invalidName, "look up", "\(endpoint)", advice: "a host cannot contain a zero byte; remove it")
            }
            let request = Request(host: host, port: port, name: "\(endpoint)")
            if case .success(let addresses) = request.find(AI_NUMERICHOST) { return .known(addresses) }
            return .asking(request)
        }
    }
}

/// A host name to be looked up.
private struct Request: Sendable, Hashable {
    let host: String
    let port: UInt16
    /// For errors.
    let name: String

    struct Failure: Error { let code: CInt }

    var isLate: IPCError {
        IPCError(
            .timedOut, "look up", name,
            advice: "the system's resolver did not answer for \"\(host)\" before the deadline; "
                + "use a literal address, or allow more time; if it never answers, check resolv.conf")
    }

    func find(_ flags: CInt) -> Result<[RawSocketAddress], Failure> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_NUMERICSERV | flags
        unsafe hints.ai_socktype = IPC_SOCK_STREAM  // one entry per address
        var found: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, "\(port)", &hints, &found)
        guard code == 0 else { return .failure(Failure(code: code)) }
        defer { unsafe freeaddrinfo(found) }
        var addresses: [RawSocketAddress] = []
        var next = unsafe found
        while let entry = unsafe next {
            unsafe addresses.append(RawSocketAddress(entry.pointee.ai_addr, entry.pointee.ai_addrlen))
            unsafe next = entry.pointee.ai_next
        }
        return .success(addresses)
    }

    func ask() throws(IPCError) -> [RawSocketAddress] { try value(of: find(0)) }

    func value(of result: Result<[RawSocketAddress], Failure>) throws(IPCError) -> [RawSocketAddress] {
        switch result {
        case .success(let addresses) where !addresses.isEmpty: return addresses
        case .success: throw unknown("the name has no address")
        case .failure(let failure): throw unknown(unsafe String(cString: gai_strerror(failure.code)))
        }
    }

    private func unknown(_ reason: String) -> IPCError {
        IPCError(
            .notFound, "look up", name, advice: "no address is known for \"\(host)\": \(reason); use a literal address")
    }
}

/// The threads that ask the system's resolver: as many as are needed, up to a limit, since one that has no answer ends only when
/// the resolver gives up (`resolv.conf`), long after nobody waits any more. What is asked for already is not asked for again; what
/// has to wait for a thread waits until its own deadline.
private final class Resolver: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.
    static let shared = Resolver()

    /// As many names as may be without an answer before others have to wait.
    private static let maximumThreads = 16

    private struct Weak { weak var answer: Answer? }

    private let lock = PrivateLock()
    private var forks = ipc_forks()
    private var threadCount = 0
    /// Those that are to be asked for, the oldest first, and those that are asked for now. Nobody else keeps one that nobody waits for.
    private var waiting: [Weak] = []
    private var all: [Request: Weak] = [:]

    /// The answer that will come, to be waited for.
    func answer(to request: Request) throws(IPCError) -> Answer {
        ipc_count_forks()
        let new = try Answer(request)
        let (answer, needsThread) = lock.withLock { () -> (Answer, Bool) in
            if forks != ipc_forks() {
                // The threads are the parent's.
                forks = ipc_forks()
                threadCount = 0
                (waiting, all) = ([], [:])
            }
            if let known = all[request]?.answer { return (known, false) }
            all = all.filter { $0.value.answer != nil }
            waiting.removeAll { $0.answer == nil }
            all[request] = Weak(answer: new)
            waiting.append(Weak(answer: new))
            guard threadCount < Self.maximumThreads else { return (new, false) }
            threadCount += 1
            return (new, true)
        }
        guard needsThread, let errno = startQuietThread({ self.run() }) else { return answer }
        let isAlone = lock.withLock {
            threadCount -= 1
            return threadCount == 0
        }
        // Else one of the others asks.
        guard isAlone else { return answer }
        throw IPCError(
            "pthread_create", request.name, errno,
            advice: "no thread can be started to look up the name; end some threads, or raise ulimit -u")
    }

    private func run() {
        while let answer = next() {
            let found = answer.request.find(0)
            // Whoever asks from now on asks anew.
            lock.withLock { all[answer.request] = nil }
            answer.set(found)
        }
    }

    /// - Returns: Nil if there is nothing to ask for; then the thread ends.
    private func next() -> Answer? {
        lock.withLock {
            while !waiting.isEmpty {
                if let answer = waiting.removeFirst().answer { return answer }
            }
            threadCount -= 1
            return nil
        }
    }
}

/// What a thread finds. It has a descriptor that is readable from then on, and lives until nobody waits and the thread has ended.
private final class Answer: Sendable {
    let request: Request
    private let isThere: EventCounter
    private let result = Box()

    private final class Box: @unchecked Sendable {
        // `@unchecked`: by its lock.
        let lock = PrivateLock()
        var value: Result<[RawSocketAddress], Request.Failure>?
    }

    init(_ request: Request) throws(IPCError) {
        self.request = request
        isThere = try EventCounter()
    }

    var descriptor: CInt { isThere.descriptor.rawValue }

    func set(_ found: Result<[RawSocketAddress], Request.Failure>) {
        result.lock.withLock { result.value = found }
        // Cannot fail: nobody else adds to it.
        try? isThere.add()
    }

    func take() throws(IPCError) -> [RawSocketAddress] {
        guard let found = result.lock.withLock({ result.value }) else { throw request.isLate }
        return try request.value(of: found)
    }
}
