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
/// Port 0 asks for a free port, which the listener's own endpoint then tells.
public enum Endpoint: Hashable, Sendable {
    case tcp(host: String, port: UInt16)
    case udp(host: String, port: UInt16)
    case unix(FilePath)
    case unixAbstract(String)

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
        if text.hasPrefix("tcp://") || text.hasPrefix("udp://") {
            let (host, port) = try Self.hostAndPort(text.dropFirst(6), invalid)
            self = text.hasPrefix("tcp") ? .tcp(host: host, port: port) : .udp(host: host, port: port)
        } else if text.hasPrefix("unix-abstract:") {
            let name = String(text.dropFirst(14))
            guard !name.isEmpty else { throw invalid("a name is missing after unix-abstract:") }
            self = .unixAbstract(name)
            try checkLength(name.utf8.count, text)
        } else if text.hasPrefix("unix:") {
            let rest = text.dropFirst(5)
            let path = rest.hasPrefix("//") ? String(rest.dropFirst(2)) : String(rest)
            guard !path.isEmpty else { throw invalid("a path is missing after unix://") }
            guard !path.utf8.contains(0) else { throw invalid("a path cannot hold a zero byte") }
            self = .unix(FilePath(path))
            try checkLength(path.utf8.count, text)
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
            throw invalid("a host is missing: 127.0.0.1 for this machine, 0.0.0.0 for all interfaces")
        }
        return (String(host), port)
    }

    func checkLength(_ count: Int, _ text: String) throws(IPCError) {
        guard count <= Self.maximumPathBytes else {
            throw IPCError(
                .invalidName, "endpoint", text,
                advice:
                    "a Unix socket's path has at most \(Self.maximumPathBytes) bytes, this one has \(count); choose a shorter folder"
            )
        }
    }
}

extension Endpoint: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tcp(let host, let port): "tcp://\(Self.bracketed(host)):\(port)"
        case .udp(let host, let port): "udp://\(Self.bracketed(host)):\(port)"
        case .unix(let path): "unix://\(path.string)"
        case .unixAbstract(let name): "unix-abstract:\(name)"
        }
    }

    private static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }
}
