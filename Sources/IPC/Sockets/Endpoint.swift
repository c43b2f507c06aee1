public import SystemPackage

/// Where a socket is: parsed from and printed as a URL.
///
/// | text | value |
/// |---|---|
/// | `tcp://127.0.0.1:9000`, `tcp://[::1]:9000`, `tcp://localhost:0` | ``tcp(host:port:)`` |
/// | `udp://[::1]:9000` | ``udp(host:port:)`` |
/// | `unix:///run/app.sock` | ``unix(_:)``: a file; stream, datagram or sequenced packet by the socket type that uses it |
/// | `unix-abstract:name` | ``unixAbstract(_:)``: a name without a file, and *without permissions* |
///
/// Port 0 asks for a free port, which the listener's own endpoint then tells. Paths and abstract names are bytes, and may be
/// such that no text can say; they are printed with `\xff` for those that are not UTF-8, which is not parsed again.
///
/// A host name is looked up when the endpoint is used. All addresses that it has are tried: see ``StreamSocket`` and
/// ``StreamListener``. What has a deadline keeps it, though the system's resolver does not: it is asked by threads of their own,
/// 16 at most, each of which ends when the resolver answers. A call that never waits refuses a host name. For a literal address
/// nobody is asked.
public enum Endpoint: Hashable, Sendable {
    case tcp(host: String, port: UInt16)
    case udp(host: String, port: UInt16)
    case unix(FilePath)
    case unixAbstract(AbstractName)

    /// The longest path of a Unix socket, in bytes: `sun_path` less its final zero.
    public static let maximumPathBytes = 107

    var isUnix: Bool {
        switch self {
        case .unix, .unixAbstract: true
        case .tcp, .udp: false
        }
    }

    /// Parses a URL.
    ///
    /// - Throws: ``IPCError/Code/invalidName`` that says which part is wrong.
    public init(_ text: String) throws(IPCError) {
        func invalid(_ reason: String) -> IPCError { IPCError(.invalidName, "endpoint", text, advice: reason) }
        // By bytes: a letter with an accent of its own would hide the character before it from a comparison of characters.
        func rest(after scheme: String) -> String? {
            text.utf8.starts(with: scheme.utf8) ? String(text.utf8.dropFirst(scheme.utf8.count)) : nil
        }
        if let address = rest(after: "tcp://") {
            let (host, port) = try Self.hostAndPort(address[...], invalid)
            self = .tcp(host: host, port: port)
        } else if let address = rest(after: "udp://") {
            let (host, port) = try Self.hostAndPort(address[...], invalid)
            self = .udp(host: host, port: port)
        } else if let name = rest(after: "unix-abstract:") {
            self = .unixAbstract(AbstractName(name))
            try checkUnixName()
        } else if let path = rest(after: "unix://") ?? rest(after: "unix:") {
            guard !path.utf8.contains(0) else { throw invalid("a path cannot contain a zero byte; remove it") }
            self = .unix(FilePath(path))
            try checkUnixName()
        } else {
            throw invalid("start it with tcp://, udp://, unix:// or unix-abstract:")
        }
    }

    private static func hostAndPort(
        _ text: Substring, _ invalid: (String) -> IPCError
    ) throws(IPCError) -> (String, UInt16) {
        guard let colon = text.lastIndex(of: ":") else {
            throw invalid("a port is missing: add :9000, or :0 for a free one")
        }
        guard let port = UInt16(text[text.index(after: colon)...]) else {
            throw invalid("a port is a number from 0 to 65535")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw invalid("write an IPv6 address in brackets: [::1]:9000")
        }
        guard !host.isEmpty else {
            throw invalid("a host is missing: write 127.0.0.1 for this machine, 0.0.0.0 for all interfaces")
        }
        guard !host.utf8.contains(0) else { throw invalid("a host cannot contain a zero byte; remove it") }
        return (String(host), port)
    }

    /// Refuses the name of a Unix socket that the kernel would take for another one: the address of an empty path is an
    /// abstract name, and that of an empty name asks for one of the kernel's choice.
    func checkUnixName() throws(IPCError) {
        func invalid(_ reason: String) -> IPCError { IPCError(.invalidName, "endpoint", "\(self)", advice: reason) }
        let count: Int
        switch self {
        case .tcp, .udp: return
        case .unix(let path):
            guard !path.isEmpty else { throw invalid("a path is missing after unix://") }
            try path.check("endpoint")
            count = path.length
        case .unixAbstract(let name):
            guard !name.bytes.isEmpty else { throw invalid("a name is missing after unix-abstract:") }
            count = name.bytes.count
        }
        guard count <= Self.maximumPathBytes else {
            throw invalid(
                "the name of a Unix socket has at most \(Self.maximumPathBytes) bytes, but this one has \(count); "
                    + "choose a shorter name, or a folder with a shorter path")
        }
    }
}

extension Endpoint: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tcp(let host, let port): "tcp://\(Self.bracketed(host)):\(port)"
        case .udp(let host, let port): "udp://\(Self.bracketed(host)):\(port)"
        case .unix(let path): "unix://\(escapingInvalidBytes(path.bytes))"
        case .unixAbstract(let name): "unix-abstract:\(name)"
        }
    }

    private static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }
}
